//! What a URL means: where the daemon is, which of its models is asked, and what it says of that model.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    cli::bench::client::{Answer, Connection},
    config::bench::BenchSettings,
    error::{Error, Result},
};

/// The port of a URL that names none.
const DEFAULT_PORT: u16 = 80;

/// A daemon that can be asked.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) address: SocketAddr,
    authority: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
    runtime: Runtime,
}

/// The path that is posted to, and whose it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) path: String,
    /// The model that answers there.
    pub(super) model: RoutedModel,
}

/// The model that a path asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RoutedModel {
    /// The daemon's default.
    Default,
    /// One that is named, perhaps with a version.
    Named(String, Option<String>),
    /// A path that is not of the native API.
    Unknown,
}

/// What a daemon says of a model.
#[derive(Debug)]
pub(super) struct ModelFacts {
    pub(super) name: String,
    /// The version that is asked.
    pub(super) version: String,
    /// A body that works, unless it would be too large to show.
    pub(super) example: Option<Bytes>,
    /// The lane its requests take.
    pub(super) lane: Option<String>,
}

#[derive(Deserialize)]
struct ModelsAnswer {
    default_model: Option<String>,
    models: Vec<NameAnswer>,
}

#[derive(Deserialize)]
struct NameAnswer {
    name: String,
}

#[derive(Deserialize)]
struct ModelAnswer {
    state: String,
    reason: Option<String>,
    version: Option<String>,
    example: Option<Box<RawValue>>,
    execution: Option<ExecutionAnswer>,
}

#[derive(Deserialize)]
struct ExecutionAnswer {
    lane: String,
}

impl Route {
    /// Reads a URL's path: that of a daemon, of a model, of a version, or already the one to post to.
    pub(super) fn of(uri: &Uri) -> Self {
        let segments: Vec<_> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        let (path, model) = match *segments {
            [] | ["predict"] => ("/predict".to_owned(), RoutedModel::Default),
            ["models", name] | ["models", name, "predict"] => {
                (format!("/models/{name}/predict"), RoutedModel::Named(name.to_owned(), None))
            }
            ["models", name, "versions", version] | ["models", name, "versions", version, "predict"] => (
                format!("/models/{name}/versions/{version}/predict"),
                RoutedModel::Named(name.to_owned(), Some(version.to_owned())),
            ),
            _ => {
                let path = uri.path_and_query().map_or("/", |path| path.as_str());
                (path.to_owned(), RoutedModel::Unknown)
            }
        };
        Self { path, model }
    }
}

impl Host {
    /// Looks up the addresses, and takes the first that accepts a connection: `localhost` has several. Blocks.
    ///
    /// # Errors
    /// `Unavailable` where the name has none, or none of them accepts.
    pub(super) fn new(uri: &Uri, settings: &BenchSettings) -> Result<Self> {
        let authority = uri.authority().map_or_else(String::new, ToString::to_string);
        let name = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let unreachable = |reason: String| Error::unavailable(format!("cannot connect to {authority}: {reason}"));
        let addresses = (name, uri.port_u16().unwrap_or(DEFAULT_PORT)).to_socket_addrs();
        let mut reason = "it has no address".to_owned();
        let accepts = |address: &SocketAddr| match TcpStream::connect_timeout(address, settings.timeout) {
            Ok(_connection) => true,
            Err(error) => {
                reason = error.to_string();
                false
            }
        };
        let address = addresses.map_err(|error| unreachable(error.to_string()))?.find(accepts);
        let address = address.ok_or_else(|| unreachable(reason))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::internal)?;
        Ok(Self { address, authority, headers: settings.headers.clone(), timeout: settings.timeout, runtime })
    }

    /// Writes the URL of a path.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    /// Makes a request with the headers that all have.
    ///
    /// # Errors
    /// `InvalidArgument` where the path is none.
    pub(super) fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, concat!("onnxd-bench/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Error::invalid(format!("path {path:?}: {error}")))?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        Ok(request)
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// `Unavailable` where there is no answer.
    pub(super) fn get(&self, path: &str) -> Result<Answer> {
        let failed = |reason: String| Error::unavailable(format!("GET http://{}{path}: {reason}", self.authority));
        let request = self.request(Method::GET, path, Bytes::new())?;
        let exchange = async {
            let mut connection = Connection::open(self.address).await.map_err(|error| failed(error.to_string()))?;
            connection.exchange(request, |_status| true).await.map_err(|error| failed(error.to_string()))
        };
        let answer = self.runtime.block_on(async { timeout(self.timeout, exchange).await });
        answer.map_err(|_elapsed| failed("no answer in time".to_owned()))?
    }

    fn get_json<T: for<'a> Deserialize<'a>>(&self, path: &str) -> Result<T> {
        let answer = self.get(path)?;
        let place = || format!("GET http://{}{path}", self.authority);
        if !Answer::is_success(answer.status) {
            let text = String::from_utf8_lossy(&answer.body);
            let message = format!("{} was answered {}: {}", place(), answer.status, text.trim_end());
            return Err(Error::not_found(message));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| Error::not_found(format!("{} was not answered as onnxd does: {error}", place())))
    }

    /// Asks what a route's model is; `None` for a route that is not of the native API.
    ///
    /// # Errors
    /// `NotFound` where there is no such model, `Unavailable` where it does not serve now.
    pub(super) fn model(&self, route: &RoutedModel) -> Result<Option<ModelFacts>> {
        let (name, version) = match route {
            RoutedModel::Unknown => return Ok(None),
            RoutedModel::Named(name, version) => (name.clone(), version.clone()),
            RoutedModel::Default => (self.default_model()?, None),
        };
        let model: ModelAnswer = self.get_json(&format!("/models/{name}"))?;
        if model.state != "ready" {
            let reason = model.reason.map_or_else(String::new, |reason| format!(": {reason}"));
            return Err(Error::unavailable(format!("model {name:?} is {}{reason}", model.state)));
        }
        Ok(Some(ModelFacts {
            version: version.or(model.version).unwrap_or_default(),
            example: model.example.map(|example| Box::<str>::from(example).into_string().into()),
            lane: model.execution.map(|execution| execution.lane),
            name,
        }))
    }

    fn default_model(&self) -> Result<String> {
        let models: ModelsAnswer = self.get_json("/models")?;
        models.default_model.ok_or_else(|| {
            let names: Vec<_> = models.models.iter().map(|model| model.name.as_str()).collect();
            let authority = &self.authority;
            Error::not_found(format!(
                "http://{authority} has no default model: name one as in http://{authority}/models/NAME; there are {}",
                names.join(", ")
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_end_at_the_daemon_the_model_the_version_or_the_whole_path() {
        let named = |name: &str, version: Option<&str>| RoutedModel::Named(name.to_owned(), version.map(str::to_owned));
        let cases = [
            ("http://h", "/predict", RoutedModel::Default),
            ("http://h:8000/predict", "/predict", RoutedModel::Default),
            ("http://h/models/iris", "/models/iris/predict", named("iris", None)),
            ("http://h/models/iris/", "/models/iris/predict", named("iris", None)),
            ("http://h/models/iris/predict", "/models/iris/predict", named("iris", None)),
            ("http://h/models/iris/versions/2", "/models/iris/versions/2/predict", named("iris", Some("2"))),
            ("http://h/models/iris/versions/2/predict", "/models/iris/versions/2/predict", named("iris", Some("2"))),
            ("http://h/invocations?a=1", "/invocations?a=1", RoutedModel::Unknown),
        ];
        for (url, path, model) in cases {
            assert_eq!(Route::of(&url.parse().unwrap()), Route { path: path.to_owned(), model }, "{url}");
        }
    }
}
