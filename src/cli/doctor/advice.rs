//! What is not right though it would work: each warning says what is wrong, and what to do.

use crate::{
    cli::doctor::{
        facts::{CpuFacts, Facts, HttpFacts},
        models::ModelsFacts,
    },
    error::size,
    model::manifest::InstanceSettings,
    server::reserved_connections,
};

/// Files that a server has open beside its connections: libraries, the log, the event loop's own.
const OTHER_OPEN_FILES: u64 = 64;

pub(super) fn warnings(facts: &Facts) -> Vec<String> {
    let mut warnings = Vec::new();
    warnings.extend(fractional_quota(&facts.cpus));
    warnings.extend(too_many_http_threads(facts));
    warnings.extend(too_many_model_threads(&facts.models, facts.cpus.usable));
    warnings.extend(too_few_open_files(facts));
    warnings.extend(too_little_memory(facts));
    warnings.extend(taken_ports(&facts.http));
    let unknown =
        |name| format!("the environment variable {name} is set, but onnxd has no such setting: see onnxd --help");
    warnings.extend(facts.unknown_variables.iter().map(unknown));
    warnings
}

fn taken_ports(http: &HttpFacts) -> Vec<String> {
    let ports = [
        (http.is_port_taken, Some(http.port), "--port or PORT"),
        (http.is_grpc_port_taken, http.grpc_port, "--grpc-port or ONNXD_GRPC_PORT"),
    ];
    let warning = |port, settings| {
        format!("port {port} is taken, maybe by an onnxd that runs already: stop it, or set {settings}")
    };
    let taken = ports.into_iter().filter(|(is_taken, ..)| *is_taken);
    taken.filter_map(|(_, port, settings)| Some(warning(port?, settings))).collect()
}

fn fractional_quota(cpus: &CpuFacts) -> Option<String> {
    let limit = cpus.quota.as_ref()?.cpus;
    let matters = limit < cpus.affinity as f64 && limit.fract() != 0.0;
    matters.then(|| {
        format!(
            "the CPU quota of {limit} is not a whole number: the kernel stops all threads for the rest of each period in \
             which they have used it up, and requests wait; give the process a whole number of CPUs"
        )
    })
}

fn too_many_http_threads(facts: &Facts) -> Option<String> {
    let (threads, usable) = (facts.http.threads, facts.cpus.usable);
    (threads > usable).then(|| {
        format!("--http-threads {threads} is more than the {usable} that the CPUs allow: leave it out, or give the process more CPUs")
    })
}

/// Warns of what a model.toml asks for. That there are more models than CPUs is no fault: few run at the same time.
fn too_many_model_threads(models: &ModelsFacts, usable: usize) -> Vec<String> {
    let by_model = models.models.iter();
    let by_model = by_model.filter_map(|model| model.instance_settings().oversubscription(&model.name, usable));
    let mut warnings: Vec<_> = by_model.collect();
    let usual = InstanceSettings::default();
    let asked_for = |instances: usize, threads: usize| instances > usual.count || threads > usual.intra_op_threads;
    let is_asked_for = models.models.iter().any(|model| asked_for(model.instances, model.intra_op_threads));
    if warnings.is_empty() && is_asked_for && models.threads() > usable {
        warnings.push(format!(
            "the models run on {} threads when all are busy, but the CPUs allow {usable}: lower count or intra_op_threads \
             under [instances] in the model.toml of those that are not used together",
            models.threads()
        ));
    }
    warnings
}

fn too_few_open_files(facts: &Facts) -> Option<String> {
    let connections = facts.limits.max_connections + reserved_connections(facts.limits.max_connections);
    let (wanted, limit) = (connections as u64 + OTHER_OPEN_FILES, facts.limits.max_open_files?);
    (wanted > limit).then(|| {
        format!(
            "--max-connections {} is more than the limit of {limit} open files allows: raise that to {wanted} or more \
             (ulimit -n, LimitNOFILE in a systemd unit), or lower --max-connections",
            facts.limits.max_connections
        )
    })
}

fn too_little_memory(facts: &Facts) -> Option<String> {
    let limit = facts.memory_limit.as_ref()?.bytes;
    let files = facts.models.memory_bytes();
    if files > limit {
        return Some(format!(
            "the models' files take {} in memory, counted once an instance, but the limit is {}: raise it, or serve fewer \
             models or instances",
            size(files),
            size(limit)
        ));
    }
    let (bodies, runs) = (facts.limits.max_buffered_bytes as u64, facts.limits.max_run_memory_bytes);
    (files.saturating_add(bodies).saturating_add(runs) > limit).then(|| {
        format!(
            "the models' files ({}), --max-buffered-bytes ({}) and --max-run-memory ({}) take more than the memory limit of \
             {}: lower one of the two, or raise the limit",
            size(files),
            size(bodies),
            size(runs),
            size(limit)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::{
        facts::{MemoryFacts, QuotaFacts, ServerLimits},
        models::ModelFacts,
    };

    /// A server on four CPUs with nothing to warn of.
    fn sound() -> Facts {
        Facts {
            cpus: CpuFacts { online: Some(8), affinity: 4, quota: None, usable: 4 },
            http: HttpFacts { threads: 4, ..HttpFacts::default() },
            limits: ServerLimits { max_connections: 1000, max_open_files: Some(1128), ..ServerLimits::default() },
            models: models(&[(1, 1), (1, 1), (1, 1), (1, 1), (1, 1)]),
            memory_limit: Some(MemoryFacts { bytes: 5000, source: String::new() }),
            ..Facts::default()
        }
    }

    fn models(instances: &[(usize, usize)]) -> ModelsFacts {
        let model = |(instances, intra_op_threads): &(usize, usize)| ModelFacts {
            name: "iris".to_owned(),
            versions: 1,
            size_bytes: 1000,
            instances: *instances,
            intra_op_threads: *intra_op_threads,
        };
        ModelsFacts { models: instances.iter().map(model).collect(), ..ModelsFacts::default() }
    }

    #[track_caller]
    fn assert_warns(change: impl FnOnce(&mut Facts), expected: &str) {
        let mut facts = sound();
        change(&mut facts);
        let warnings = warnings(&facts);
        assert!(matches!(&warnings[..], [warning] if warning.contains(expected)), "{expected}: {warnings:?}");
    }

    #[test]
    fn five_usual_models_on_four_cpus_are_no_fault() {
        assert_eq!(warnings(&sound()), [""; 0]);
    }

    #[test]
    fn each_fault_has_its_warning() {
        let quota = |cpus| Some(QuotaFacts { cpus, source: String::new() });
        assert_warns(|facts| facts.cpus.quota = quota(1.5), "quota of 1.5 is not a whole number");
        assert_warns(|facts| facts.http.threads = 5, "--http-threads 5 is more than the 4");
        assert_warns(|facts| facts.limits.max_connections = 1001, "raise that to 1129 or more");
        assert_warns(|facts| facts.http.is_port_taken = true, "port 0 is taken");
        let taken = |facts: &mut Facts| {
            facts.http =
                HttpFacts { grpc_port: Some(8001), is_grpc_port_taken: true, threads: 4, ..HttpFacts::default() }
        };
        assert_warns(taken, "port 8001 is taken, maybe by an onnxd that runs already: stop it, or set --grpc-port");
        assert_warns(|facts| facts.unknown_variables = vec!["ONNXD_PROT".to_owned()], "ONNXD_PROT is set");
        let tight = MemoryFacts { bytes: 4999, source: String::new() };
        assert_warns(|facts| facts.memory_limit = Some(tight), "take 4.9 KiB in memory");
        assert_warns(|facts| facts.limits.max_buffered_bytes = 1, "--max-buffered-bytes (1 bytes) and");
        assert_warns(|facts| facts.limits.max_run_memory_bytes = 1, "--max-run-memory (1 bytes) take more than");
    }

    #[test]
    fn threads_are_counted_by_model_and_in_all() {
        let warned = |instances: &[(usize, usize)]| too_many_model_threads(&models(instances), 4);
        assert_eq!(warned(&[(2, 2)]), [""; 0]);
        assert!(warned(&[(2, 3)])[0].starts_with("model iris runs on 6 threads (2 × 3), but the CPUs allow 4"));
        assert!(warned(&[(2, 2), (1, 1)])[0].starts_with("the models run on 5 threads"));
        assert_eq!(warned(&[(8, 1), (1, 8), (2, 1)]).len(), 2);
    }

    #[test]
    fn a_quota_that_cannot_be_reached_or_is_whole_is_no_fault() {
        for cpus in [2.0, 4.5] {
            let cpus = CpuFacts { quota: Some(QuotaFacts { cpus, source: String::new() }), ..sound().cpus };
            assert_eq!(fractional_quota(&cpus), None);
        }
    }
}
