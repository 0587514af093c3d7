//! `GET /`: where to go from here.

use std::{borrow::Cow, fmt::Write as _};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{Html, IntoResponse, Response},
};
use serde_json::value::RawValue;

use crate::{
    model::name::ModelName,
    serving::catalog::{Catalog, ModelEntry, ModelState},
    transport::http::pipeline::app::App,
};

/// The page for a person's browser; `{{models}}` is where the models go.
const PAGE: &str = include_str!("welcome.html");
/// Longer examples are left out.
const MAX_EXAMPLE_BYTES: usize = 300;

const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
);

/// Answers one line of JSON, or a page where HTML is asked for.
pub async fn welcome(State(app): State<App>, headers: HeaderMap) -> Response {
    let catalog = app.service.catalog();
    let accept = headers.get(header::ACCEPT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        let page = Html(PAGE.replace("{{models}}", &list(&catalog)));
        return ([(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)], page).into_response();
    }
    let models: Vec<_> = catalog.entries().map(|(name, _)| name.as_str()).collect();
    // KServe's clients look here for whether the server lives.
    let welcome = serde_json::json!({
        "onnxd": env!("CARGO_PKG_VERSION"),
        "status": "alive",
        "models": models,
        "docs": "/docs",
    });
    Json(welcome).into_response()
}

fn list(catalog: &Catalog) -> String {
    catalog.entries().fold(String::new(), |mut list, (name, entry)| {
        write_model(&mut list, name, entry);
        list
    })
}

/// Writes a model's lines. Its name has only characters that HTML and paths leave alone; all else is escaped.
fn write_model(list: &mut String, name: &ModelName, entry: &ModelEntry) {
    let state = entry.state(entry.default_version());
    let _infallible = match &state {
        ModelState::Ready(served_model) => {
            let schema = &served_model.schema;
            let (task, version) = (schema.task.name(), served_model.version);
            let description = schema.description.as_deref().map(escaped).unwrap_or_default();
            let example = served_model.example.as_deref().map(RawValue::get);
            let example =
                example.filter(|example| example.len() <= MAX_EXAMPLE_BYTES).map_or(Cow::Borrowed("…"), escaped);
            writeln!(
                list,
                "<dt><a href=\"models/{name}\">{name}</a> <small>{task}, version {version}</small></dt>\n\
                 <dd>{description}<code>POST /models/{name}/predict {example}</code></dd>"
            )
        }
        ModelState::Loading => writeln!(list, "<dt>{name} <small>loading</small></dt>"),
        ModelState::Failed(reason) => {
            writeln!(list, "<dt>{name} <small>failed</small></dt>\n<dd>{}</dd>", escaped(reason))
        }
    };
}

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_model_cannot_become_markup() {
        assert_eq!(escaped("<b>&\"c\"</b>"), "&lt;b&gt;&amp;&quot;c&quot;&lt;/b&gt;");
        assert_eq!(escaped("plain 'text'"), "plain 'text'");
    }
}
