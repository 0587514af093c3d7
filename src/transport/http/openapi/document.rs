//! The whole document: the models that serve now first, then the server's own endpoints.

use utoipa::openapi::{
    InfoBuilder, License, OpenApi, OpenApiBuilder, Tag, path::PathsBuilder, schema::ComponentsBuilder, tag::TagBuilder,
};

use crate::{
    model::name::ModelName,
    serving::catalog::{Catalog, ModelEntry, ModelState},
    transport::http::openapi::{mlflow, open_inference, operations, parts::shared_components, predict::Described, tfs},
};

const DESCRIPTION: &str = "Predictions of the models that this server serves now. A prediction is one `POST` with a row of \
features; the request examples below work as they are. Metrics are for Prometheus at `/metrics`.";

/// Makes the document of the models that serve now.
pub fn document(catalog: &Catalog) -> OpenApi {
    let mut draft = Draft::default();
    for (name, entry) in catalog.entries() {
        draft.add_model(name, entry, catalog.default_model() == Some(name));
    }
    let paths = mlflow::add_probes(tfs::add_status(draft.paths, catalog));
    let (paths, components) = operations::add(paths, shared_components(draft.components), catalog);
    let (paths, components) = open_inference::add(paths, components, catalog);
    draft.tags.extend([operations::tag(), open_inference::tag(), tfs::tag(), mlflow::tag()]);
    let info = InfoBuilder::new()
        .title("onnxd")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(License::new(env!("CARGO_PKG_LICENSE"))));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .components(Some(components.build()))
        .tags(Some(draft.tags))
        .build()
}

#[derive(Default)]
struct Draft {
    paths: PathsBuilder,
    components: ComponentsBuilder,
    tags: Vec<Tag>,
}

impl Draft {
    /// Adds the versions of a model that serve. Version paths are there only where there are versions to choose from.
    fn add_model(&mut self, name: &ModelName, entry: &ModelEntry, is_default_model: bool) {
        let default_version = entry.default_version();
        let several = entry.versions().nth(1).is_some();
        let mut described_as = None;
        for (version, state) in entry.versions() {
            let ModelState::Ready(served_model) = state else { continue };
            let is_default = default_version == Some(version);
            let described = Described { served_model: &served_model, version: (!is_default).then_some(version) };
            self.components = described.add_components(std::mem::take(&mut self.components));
            if is_default {
                self.add_path(described, &format!("/models/{name}/predict"), &format!("predict_{name}"));
            }
            if is_default && is_default_model {
                self.add_path(described, "/predict", "default_predict");
                self.change_paths(|paths| mlflow::add_invocations(paths, &served_model));
            }
            if is_default {
                self.change_paths(|paths| {
                    tfs::add_model(paths, &served_model, &format!("/v1/models/{name}"), name.as_str())
                });
            }
            if several {
                let path = format!("/models/{name}/versions/{version}/predict");
                self.add_path(described, &path, &format!("version_{version}_predict_{name}"));
                let path = format!("/v1/models/{name}/versions/{version}");
                let suffix = format!("version_{version}_{name}");
                self.change_paths(|paths| tfs::add_model(paths, &served_model, &path, &suffix));
            }
            if is_default || described_as.is_none() {
                described_as = Some(served_model.schema.description.clone());
            }
        }
        if let Some(description) = described_as {
            self.tags.push(TagBuilder::new().name(name.as_str()).description(description).build());
        }
    }

    fn add_path(&mut self, described: Described<'_>, path: &str, operation_id: &str) {
        self.change_paths(|paths| described.add_path(paths, path, operation_id));
    }

    fn change_paths(&mut self, change: impl FnOnce(PathsBuilder) -> PathsBuilder) {
        self.paths = change(std::mem::take(&mut self.paths));
    }
}
