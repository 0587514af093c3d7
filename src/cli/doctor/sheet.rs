//! The doctor's report laid out for people.

use crate::{
    cli::{
        doctor::{
            Report,
            facts::{CpuFacts, Facts, LOCALE, ServerLimits},
            models::ModelsFacts,
        },
        page::{Page, count},
    },
    error::size,
};

pub(super) fn page(report: &Report) -> Page {
    let facts = &report.facts;
    let mut page = Page::default();
    page.heading(&format!("onnxd {}", facts.version));
    add_runtime(&mut page, facts);
    page.heading("machine");
    add_machine(&mut page, facts);
    page.heading("server");
    add_server(&mut page, facts);
    page.heading("models");
    add_models(&mut page, &facts.models, facts.cpus.usable);
    page.heading(&verdict(report));
    for problem in &report.problems {
        page.paragraph(&format!("problem: {problem}"));
    }
    for warning in &report.warnings {
        page.paragraph(&format!("warning: {warning}"));
    }
    page
}

fn add_runtime(page: &mut Page, facts: &Facts) {
    match &facts.onnxruntime {
        Some(library) => {
            page.entry("ONNX Runtime", &format!("{}, {} ({})", library.version, library.path, library.origin));
        }
        None => page.entry("ONNX Runtime", "none that could be used"),
    }
    page.entry("telemetry", facts.telemetry);
    let locale = match facts.locale_installed {
        Some(true) => "is installed",
        Some(false) => "is not installed; only models that change the case of text need it",
        None => "may or may not be installed; only models that change the case of text need it",
    };
    page.entry("locale", &format!("{LOCALE} {locale}"));
}

fn add_machine(page: &mut Page, facts: &Facts) {
    let CpuFacts { online, affinity, quota, usable } = &facts.cpus;
    let online = online.map_or("unknown".to_owned(), |online| online.to_string());
    page.entry("CPUs", &format!("{online} online, {affinity} allowed by affinity"));
    match quota {
        Some(quota) => page.entry("CPU quota", &format!("{} ({})", quota.cpus, quota.source)),
        None => page.entry("CPU quota", "none"),
    }
    match &facts.memory_limit {
        Some(memory) => page.entry("memory limit", &format!("{} ({})", size(memory.bytes), memory.source)),
        None => page.entry("memory limit", "none"),
    }
    page.entry("threads", &format!("{} for HTTP; the CPUs allow {usable}", facts.http.threads));
}

fn add_server(page: &mut Page, facts: &Facts) {
    let limits: &ServerLimits = &facts.limits;
    let host = match facts.http.host.contains(':') {
        true => format!("[{}]", facts.http.host),
        false => facts.http.host.clone(),
    };
    page.entry("address", &format!("http://{host}:{}", facts.http.port));
    match facts.http.grpc_port {
        Some(port) => page.entry("gRPC", &format!("{host}:{port}, and on the port of HTTP")),
        None => page.entry("gRPC", "on the port of HTTP"),
    }
    page.entry("body", &format!("up to {}", size(limits.max_body_bytes as u64)));
    let (bodies, runs) = (limits.max_buffered_bytes as u64, limits.max_run_memory_bytes);
    let models = facts.models.memory_bytes();
    let memory = format!(
        "up to {}: {} for bodies, {} for runs, {} for models",
        size(bodies.saturating_add(runs).saturating_add(models)),
        size(bodies),
        size(runs),
        size(models)
    );
    page.entry("memory", &memory);
    page.entry("model", &format!("up to {} with its external data", size(limits.max_model_bytes)));
    let timeouts = format!(
        "{} s for a request, {} s for its head or idle",
        limits.request_timeout_seconds, limits.keep_alive_seconds
    );
    page.entry("timeouts", &timeouts);
    let open_files = limits.max_open_files.map_or("unlimited".to_owned(), |limit| format!("up to {limit}"));
    page.entry("connections", &format!("up to {}; open files: {open_files}", limits.max_connections));
    let stopping = format!("{} s drain delay, {} s grace", limits.drain_delay_seconds, limits.shutdown_grace_seconds);
    page.entry("stopping", &stopping);
}

fn add_models(page: &mut Page, models: &ModelsFacts, usable: usize) {
    page.entry_lines("path", std::slice::from_ref(&models.path));
    let versions = models.models.iter().map(|model| model.versions).sum();
    let bytes = models.models.iter().map(|model| model.size_bytes).sum();
    let found = format!("{}, {}, {}", count(models.models.len(), "model"), count(versions, "version"), size(bytes));
    page.entry("found", &found);
    page.list("names", &models.models.iter().map(|model| &model.name).collect::<Vec<_>>(), "");
    if let Some(default_model) = &models.default_model {
        page.entry("default", default_model);
    }
    let threads = format!("{} when all models are busy; the CPUs allow {usable}", models.threads());
    page.entry("threads", &threads);
}

fn verdict(report: &Report) -> String {
    match (report.problems.len(), report.warnings.len()) {
        (0, 0) => "all good".to_owned(),
        (0, warnings) => format!("serve would work, with {}", count(warnings, "warning")),
        (problems, 0) => format!("serve would not work: {}", count(problems, "problem")),
        (problems, warnings) => {
            format!("serve would not work: {}, {}", count(problems, "problem"), count(warnings, "warning"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_tells_problems_from_warnings() {
        let report = |problems: usize, warnings: usize| Report {
            facts: Facts::default(),
            problems: vec![String::new(); problems],
            warnings: vec![String::new(); warnings],
        };
        assert_eq!(verdict(&report(0, 0)), "all good");
        assert_eq!(verdict(&report(0, 2)), "serve would work, with 2 warnings");
        assert_eq!(verdict(&report(1, 0)), "serve would not work: 1 problem");
    }

    #[test]
    fn json_has_the_facts_beside_problems_and_warnings() {
        let report = Report { facts: Facts::default(), problems: vec!["p".to_owned()], warnings: Vec::new() };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["problems"], serde_json::json!(["p"]));
        assert!(json["onnxruntime"].is_null());
        assert_eq!(json["cpus"]["affinity"], 0);
        assert_eq!(json["limits"]["max_connections"], 0);
    }
}
