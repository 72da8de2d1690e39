//! `Application` as an application has it: over HTTP, with its token.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sessionctl::admin::{OpenRequest, Opened};
use sessionctl::application::{Application, At, ProcessStatus, Saved, SavedInformation};
use sessionctl::context::{Context, Json, Lock, Name, Record, Selection};
use sessionctl::error::Error;
use sessionctl::session::SessionId;
use sessionctl::token::Token;
use sessionctl::wire::{OpenedBody, Problem};

/// Time after which no answer comes any more: longer than any request here waits.
pub(crate) const NO_ANSWER: Duration = Duration::from_secs(30);

/// An HTTP client of this machine alone. The crate's reqwest has no provider of cryptography of its own.
pub(crate) fn http() -> reqwest::ClientBuilder {
    // It fails where another test was first.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().tls_certs_only([]).no_proxy()
}

/// An application's side of the admin API.
pub(crate) struct AppClient {
    http: reqwest::Client,
    /// What goes before every path.
    base: String,
    token: String,
}

impl AppClient {
    /// Over a unix socket, with the application's token.
    pub(crate) fn new(socket: &Path, token: &Token) -> Self {
        let http = http().unix_socket(socket);
        Self::with(http, "http://localhost", token)
    }

    /// Over TCP, to a server that may go away.
    pub(crate) fn over_tcp(url: &str, token: &Token) -> Self {
        let http = http().timeout(NO_ANSWER);
        Self::with(http, url, token)
    }

    fn with(http: reqwest::ClientBuilder, base: &str, token: &Token) -> Self {
        Self {
            http: http.build().expect("an HTTP client"),
            base: base.into(),
            token: token.expose().into(),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Response, Error> {
        let mut request = self
            .http
            .request(method, format!("{}/v1/sessions{path}", self.base))
            .header("Authorization", format!("Bearer {}", self.token));
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body);
        }
        request.send().await.map_err(unanswered)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<T, Error> {
        let bytes = checked(self.send(method, path, body).await?).await?;
        Ok(serde_json::from_slice(&bytes).expect("the JSON that is asked for"))
    }

    async fn tell(&self, method: Method, path: &str, body: Option<String>) -> Result<(), Error> {
        let response = self.send(method, path, body).await?;
        let status = response.status();
        let bytes = checked(response).await?;
        assert_eq!(status, StatusCode::NO_CONTENT, "{bytes:?}");
        Ok(())
    }

    async fn opened(&self, path: &str, body: &impl Serialize) -> Result<Opened, Error> {
        let body: OpenedBody = self.ask(Method::POST, path, Some(json(body))).await?;
        Ok(body.opened().expect("a token"))
    }
}

/// No whole answer came: who knows what was done.
pub(crate) fn unanswered(error: reqwest::Error) -> Error {
    Error::OutcomeUnknown {
        server: "the server".into(),
        source: error.into(),
    }
}

async fn checked(response: Response) -> Result<Vec<u8>, Error> {
    let status = response.status();
    let bytes = response.bytes().await.map_err(unanswered)?.to_vec();
    if status.is_success() {
        return Ok(bytes);
    }
    let problem: Problem = serde_json::from_slice(&bytes).expect("a problem");
    assert_eq!(problem.status, status.as_u16());
    Err(problem.into_error("the application's client"))
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("JSON")
}

/// A name as a path holds it: everything but letters and digits is escaped.
pub(crate) fn escaped(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(byte).collect()
}

fn process(At { id, process }: At) -> String {
    format!("/{id}/processes/{process}")
}

fn lock_path(at: At, Record { table, record }: &Record) -> String {
    let (table, record) = (escaped(table.as_str()), escaped(record.as_str()));
    format!("{}/locks/{table}/{record}", process(at))
}

impl Application for AppClient {
    async fn open(&self, request: OpenRequest) -> Result<Opened, Error> {
        self.opened("", &request).await
    }

    async fn log_in(&self, id: SessionId, user: String) -> Result<Opened, Error> {
        let body = serde_json::json!({ "user": user });
        self.opened(&format!("/{id}/login"), &body).await
    }

    async fn start_process(
        &self,
        id: SessionId,
        lease: Option<Duration>,
    ) -> Result<ProcessStatus, Error> {
        let lease = lease.map(|lease| u64::try_from(lease.as_millis()).expect("milliseconds"));
        let body = lease.map_or(
            serde_json::json!({}),
            |lease| serde_json::json!({ "lease": lease }),
        );
        self.ask(
            Method::POST,
            &format!("/{id}/processes"),
            Some(body.to_string()),
        )
        .await
    }

    async fn end_process(&self, at: At) -> Result<(), Error> {
        self.tell(Method::DELETE, &process(at), None).await
    }

    async fn poll_process(&self, at: At, wait: Duration) -> Result<ProcessStatus, Error> {
        let path = format!("{}?wait={}ms", process(at), wait.as_millis());
        self.ask(Method::GET, &path, None).await
    }

    async fn context(&self, at: At) -> Result<Context, Error> {
        self.ask(Method::GET, &format!("{}/context", process(at)), None)
            .await
    }

    async fn set_variable(&self, at: At, name: Name, value: Option<Json>) -> Result<(), Error> {
        let path = format!("{}/variables/{}", process(at), escaped(name.as_str()));
        match value {
            Some(value) => {
                let body = value.as_str().to_owned();
                self.tell(Method::PUT, &path, Some(body)).await
            }
            None => self.tell(Method::DELETE, &path, None).await,
        }
    }

    async fn set_selection(
        &self,
        at: At,
        name: Name,
        selection: Option<Selection>,
    ) -> Result<(), Error> {
        let path = format!("{}/selections/{}", process(at), escaped(name.as_str()));
        match selection {
            Some(selection) => self.tell(Method::PUT, &path, Some(json(&selection))).await,
            None => self.tell(Method::DELETE, &path, None).await,
        }
    }

    async fn lock(&self, at: At, record: Record, wait: Duration) -> Result<Lock, Error> {
        let path = format!("{}?wait={}ms", lock_path(at, &record), wait.as_millis());
        self.ask(Method::PUT, &path, None).await
    }

    async fn unlock(&self, at: At, record: Record) -> Result<(), Error> {
        self.tell(Method::DELETE, &lock_path(at, &record), None)
            .await
    }

    async fn take_saved(&self, id: SessionId) -> Result<Saved, Error> {
        let found: Value = self.ask(Method::GET, &format!("/{id}/saved"), None).await?;
        Ok(saved(&found))
    }

    async fn look_at_saved(&self, id: SessionId) -> Result<Saved, Error> {
        let path = format!("/{id}/saved?take=0");
        let found: Value = self.ask(Method::GET, &path, None).await?;
        Ok(saved(&found))
    }
}

fn saved(found: &Value) -> Saved {
    let previous = serde_json::from_value(found["previous"].clone()).expect("an id or null");
    let items = found["items"].as_array().expect("items");
    let items = items.iter().map(|item| SavedInformation {
        session: serde_json::from_value(item["session"].clone()).expect("an id"),
        process: serde_json::from_value(item["process"].clone()).expect("a number"),
        information: Json::new(&item["information"].to_string()).expect("JSON"),
    });
    Saved {
        previous,
        items: items.collect(),
    }
}
