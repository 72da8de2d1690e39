//! `Admin` over HTTP: asks a running server, over its unix socket, a loopback port, or TLS.

mod admin;
mod tls;

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error as ThisError;

use crate::admin::{EndRequest, Outcome};
use crate::error::{Error, Source};
use crate::session::SessionId;
use crate::token::Token;
use crate::wire::{EndBody, JSON, Problem, path};

pub use self::tls::{Distrust, NoRoot, Trust};

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Time for an answer, besides what the request itself asks the server to wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read: more than any that a server of ours gives.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// Tries of a request whose repetition changes nothing.
const TRIES: u32 = 3;

/// Pause before a second try; a third waits twice as long.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Where a server's admin API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// A loopback port.
    Http(Url),
    /// A port of any machine, over TLS.
    Https(Url),
}

impl Address {
    /// Whether whoever asks there has to show a token: whose user asks, only a socket tells.
    pub fn asks_for_token(&self) -> bool {
        match self {
            Self::Unix(_) => false,
            Self::Http(_) | Self::Https(_) => true,
        }
    }
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum AddressError {
    /// It has neither form.
    #[error("a server is given as unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT")]
    Form,
    /// A token would cross a network unprotected (S47).
    #[error(
        "plain http is for loopback addresses only: the admin token would cross the network unprotected; beyond them it is https://HOST:PORT"
    )]
    NotLoopback,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err(AddressError::Form)
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let url: Url = text.parse().map_err(|_| AddressError::Form)?;
        let is_bare = url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none();
        match url.scheme() {
            "http" | "https" if !is_bare => Err(AddressError::Form),
            "https" => Ok(Self::Https(url)),
            "http" if is_loopback(&url) => Ok(Self::Http(url)),
            "http" => Err(AddressError::NotLoopback),
            _ => Err(AddressError::Form),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url
        .host_str()
        .unwrap_or_default()
        .trim_start_matches('[')
        .trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http(url) | Self::Https(url) => f.write_str(url.as_str().trim_end_matches('/')),
        }
    }
}

/// A server's admin API.
pub struct Client {
    http: reqwest::Client,
    /// What goes before every path.
    base: String,
    /// What the operator calls it.
    server: String,
    authorization: Option<HeaderValue>,
    is_over_tls: bool,
}

/// What a request may do to the server, which decides what a broken connection means.
#[derive(Clone, Copy)]
enum Effect {
    /// Nothing: repeat it freely.
    None,
    /// Something, but a repetition does no more: repeat it, and if that fails the outcome is unknown.
    Repeatable,
    /// Something each time: never repeat it.
    Once,
}

/// One request, to be sent once or more.
struct Call<'a> {
    method: Method,
    path: &'a str,
    body: Option<Vec<u8>>,
    wait: Duration,
    effect: Effect,
}

impl<'a> Call<'a> {
    fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            body: None,
            wait: Duration::ZERO,
            effect: Effect::None,
        }
    }
}

impl Client {
    /// A client of the server at `address`, which over TLS has to be one that the operating system trusts. Nothing is
    /// sent yet. It follows no redirects and uses no proxy: the token goes to this server only.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(address: &Address, token: Option<&Token>) -> Result<Self, Error> {
        Self::trusting(address, token, &Trust::system())
    }

    /// The same, with somebody else to trust over TLS.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn trusting(
        address: &Address,
        token: Option<&Token>,
        trust: &Trust,
    ) -> Result<Self, Error> {
        let config = match address {
            Address::Https(_) => tls::config(trust),
            Address::Unix(_) | Address::Http(_) => tls::unused(),
        };
        let config = config.map_err(|distrust| Error::Untrusted {
            server: address.to_string(),
            source: distrust.into(),
        })?;
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("sessionctl/", env!("CARGO_PKG_VERSION")));
        let (builder, base) = match address {
            Address::Unix(path) => (
                builder.unix_socket(path.as_path()),
                "http://localhost".to_owned(),
            ),
            Address::Http(_) | Address::Https(_) => (builder, address.to_string()),
        };
        let authorization = token.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))?;
            value.set_sensitive(true);
            Ok::<_, reqwest::header::InvalidHeaderValue>(value)
        });
        Ok(Self {
            http: builder
                .build()
                .map_err(|error| Error::Internal(error.into()))?,
            base,
            server: address.to_string(),
            authorization: authorization
                .transpose()
                .map_err(|error| Error::Internal(error.into()))?,
            is_over_tls: matches!(address, Address::Https(_)),
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.call(Call::get(path))
            .await
            .and_then(|bytes| self.read(&bytes))
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
        wait: Duration,
        effect: Effect,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Internal(error.into()))?;
        let call = Call {
            method: Method::POST,
            path,
            body: Some(body),
            wait,
            effect,
        };
        // Something was done, but who knows what: an answer that cannot be read is none.
        self.call(call).await.and_then(|bytes| {
            self.read(&bytes)
                .map_err(|error| self.unknown(error.into()))
        })
    }

    fn unknown(&self, source: Source) -> Error {
        Error::OutcomeUnknown {
            server: self.server.clone(),
            source,
        }
    }

    async fn end(
        &self,
        route: &str,
        id: SessionId,
        request: &EndRequest,
    ) -> Result<Outcome, Error> {
        let effect = if request.request_id.is_some() {
            Effect::Repeatable
        } else {
            Effect::Once
        };
        self.post(
            &path::of(route, id),
            &EndBody::of(request),
            request.wait,
            effect,
        )
        .await
    }

    /// Sends a request, again if that is safe; answers the body of a success.
    async fn call(&self, call: Call<'_>) -> Result<Vec<u8>, Error> {
        let mut may_have_arrived = false;
        let mut failed = 0;
        loop {
            let error = match self.send(&call).await {
                Ok((status, bytes)) if (200..300).contains(&status) => return Ok(bytes),
                Ok((status, bytes)) if status == IGNORED && is_outcome(&bytes) => return Ok(bytes),
                Ok((status, bytes)) => return Err(self.refused(status, &bytes, call.effect)),
                Err(error) => error,
            };
            failed += 1;
            may_have_arrived |= !error.is_connect();
            let is_safe = matches!(call.effect, Effect::None | Effect::Repeatable);
            if is_safe && may_have_arrived && !error.is_timeout() && failed < TRIES {
                tracing::debug!(server = %self.server, "the connection broke; trying again");
                tokio::time::sleep(RETRY_PAUSE * failed + jitter()).await;
                continue;
            }
            return Err(self.failed(&error, may_have_arrived, call.effect));
        }
    }

    fn failed(&self, error: &reqwest::Error, may_have_arrived: bool, effect: Effect) -> Error {
        let (server, root) = (self.server.clone(), root_cause(error));
        let is_denied = root
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        let source = Source::from(root.to_string());
        let is_of_handshake = self.is_over_tls && error.is_connect() && !error.is_timeout();
        let distrust = is_of_handshake.then(|| tls::distrust(error)).flatten();
        match effect {
            _ if !may_have_arrived && let Some(distrust) = distrust => Error::Untrusted {
                server,
                source: distrust.into(),
            },
            _ if is_denied && !may_have_arrived => Error::Forbidden(format!(
                "not allowed to connect to {server}; if it is a socket, its owner and root may"
            )),
            Effect::Repeatable | Effect::Once if may_have_arrived => self.unknown(source),
            Effect::None if may_have_arrived => Error::NoAnswer { server, source },
            _ => Error::Unreachable { server, source },
        }
    }

    async fn send(&self, call: &Call<'_>) -> Result<(u16, Vec<u8>), reqwest::Error> {
        let url = format!("{}{}", self.base, call.path);
        let mut request = self
            .http
            .request(call.method.clone(), url)
            .timeout(REQUEST_TIMEOUT + call.wait);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, JSON).body(body.clone());
        }
        let mut response: Response = request.send().await?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        // What is larger is none of ours, and is read as what it is: an answer that breaks off.
        while bytes.len() < LARGEST_ANSWER
            && let Some(chunk) = response.chunk().await?
        {
            bytes.extend_from_slice(&chunk);
        }
        Ok((status, bytes))
    }

    fn refused(&self, status: u16, bytes: &[u8], effect: Effect) -> Error {
        match serde_json::from_slice::<Problem>(bytes) {
            Ok(problem) => problem.into_error(&self.server),
            // Not the server's own words but a proxy's, say: the server may have acted before they were needed.
            Err(_) if status >= 500 && !matches!(effect, Effect::None) => {
                self.unknown(format!("status {status} without a reason").into())
            }
            Err(_) => self.not_ours(format!("status {status} without a problem that it knows")),
        }
    }

    fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(bytes).map_err(|error| self.not_ours(error.to_string()))
    }

    fn not_ours(&self, what: String) -> Error {
        Error::Protocol {
            server: self.server.clone(),
            what,
        }
    }
}

/// The status of an outcome that is a refusal (C02).
const IGNORED: u16 = 409;

fn is_outcome(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Outcome>(bytes).is_ok()
}

/// A path with the fields of a query that are set.
fn with_query(path: &str, query: &impl Serialize) -> Result<String, Error> {
    let fields = serde_json::to_value(query).map_err(|error| Error::Internal(error.into()))?;
    let Value::Object(fields) = fields else {
        return Err(Error::Internal("a query has fields".into()));
    };
    // Only its query is of interest.
    let mut url = Url::parse("http://localhost").map_err(|error| Error::Internal(error.into()))?;
    let pairs = fields.into_iter().filter_map(|(name, value)| match value {
        Value::Null => None,
        Value::String(text) => Some((name, text)),
        value => Some((name, value.to_string())),
    });
    url.query_pairs_mut().extend_pairs(pairs);
    Ok(match url.query().unwrap_or_default() {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    })
}

/// How to ask the web listener of a server on this machine, where nobody speaks TLS.
pub(crate) fn web_client() -> Result<reqwest::ClientBuilder, Distrust> {
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls::unused()?);
    Ok(builder.no_proxy())
}

/// What lies under an error: what is above it says only that a request failed.
fn root_cause(error: &reqwest::Error) -> &(dyn StdError + 'static) {
    let mut root: &(dyn StdError + 'static) = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root
}

/// Spreads the second tries of many clients; without random bytes they come together.
fn jitter() -> Duration {
    let mut byte = [0];
    let _ = getrandom::fill(&mut byte);
    Duration::from_millis(byte[0].into()) / 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::LockQuery;
    use crate::context::Name;

    #[test]
    fn a_query_has_what_is_set_and_every_name_whole() {
        let name = |text: &str| Some(Name::new(text).expect("a name"));
        let query = |query: &LockQuery| with_query("/v1/locks", query).expect("a path");
        assert_eq!(query(&LockQuery::default()), "/v1/locks");
        let record = LockQuery {
            table: name("In/vo ices"),
            record: name("🔑&+=%#?"),
            limit: Some(2),
            ..LockQuery::default()
        };
        assert_eq!(
            query(&record),
            "/v1/locks?limit=2&record=%F0%9F%94%91%26%2B%3D%25%23%3F&table=In%2Fvo+ices"
        );
    }

    #[test]
    fn addresses_have_three_forms() {
        let cases = [
            ("unix:/run/x.sock", Ok("unix:/run/x.sock")),
            ("unix:///run/x.sock", Ok("unix:/run/x.sock")),
            ("http://127.0.0.1:8081", Ok("http://127.0.0.1:8081")),
            ("http://[::1]:8081/", Ok("http://[::1]:8081")),
            ("http://localhost:1", Ok("http://localhost:1")),
            ("unix:", Err(AddressError::Form)),
            ("127.0.0.1:8081", Err(AddressError::Form)),
            ("ftp://127.0.0.1", Err(AddressError::Form)),
            ("http://127.0.0.1:1/path", Err(AddressError::Form)),
            ("http://a:b@127.0.0.1:1", Err(AddressError::Form)),
            ("https://127.0.0.1:1", Ok("https://127.0.0.1:1")),
            ("https://ops.example:8443/", Ok("https://ops.example:8443")),
            ("https://ops.example/v1", Err(AddressError::Form)),
            ("https://a:b@ops.example", Err(AddressError::Form)),
            ("http://10.0.0.1:1", Err(AddressError::NotLoopback)),
            (
                "http://127.0.0.1.evil.example",
                Err(AddressError::NotLoopback),
            ),
        ];
        for (text, expected) in cases {
            let address = text.parse::<Address>().map(|address| address.to_string());
            assert_eq!(address, expected.map(str::to_owned), "{text}");
        }
    }
}
