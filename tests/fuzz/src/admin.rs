//! Requests to the admin routes, of somebody who has the token: no answer is a failure of the server, every refusal is a
//! problem, and nothing that has the form of a secret comes back in one.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::BodyExt as _;
use serde_json::Value;
use sessionctl::clock::SystemClock;
use sessionctl::options::Settings;
use sessionctl::registry::Registry;
use sessionctl::server::{AdminAccess, admin_routes};
use sessionctl::store::memory::MemoryStore;
use sessionctl::token::{Token, looks_like_secret};
use tower_service::Service as _;

/// What the body of each of these is for; `{}` is the session that there is.
const BODIES: [(&str, &str); 9] = [
    ("POST", "/v1/sessions"),
    ("POST", "/v1/sessions/{}/login"),
    ("POST", "/v1/sessions/{}/processes"),
    ("PUT", "/v1/sessions/{}/processes/1/variables/cart"),
    ("PUT", "/v1/sessions/{}/processes/1/selections/open"),
    ("PUT", "/v1/sessions/{}/processes/1/locks/Invoices/4711"),
    ("PATCH", "/v1/options"),
    (
        "POST",
        "/v1/sessions/5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11/close",
    ),
    (
        "POST",
        "/v1/sessions/5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11/drop",
    ),
];

/// What is looked at with a query.
const QUERIES: [&str; 6] = [
    "/v1/sessions",
    "/v1/history",
    "/v1/locks",
    "/v1/audit",
    "/v1/options",
    "/v1/sessions/{}/saved",
];

/// A body, after a byte that says where it goes.
pub fn admin_body(bytes: &[u8]) {
    let Some((route, body)) = bytes.split_first() else {
        return;
    };
    let (method, path) = BODIES[usize::from(*route) % BODIES.len()];
    let place = Place::new();
    place.block_on(async {
        let uri = place.path(path).await;
        let mut request = request(method, uri.parse().unwrap());
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Body::from(body.to_vec());
        let status = place.ask(request).await.status;
        if status < 300 {
            let is_object =
                serde_json::from_slice::<Value>(body).is_ok_and(|body| body.is_object());
            assert!(
                is_object
                    || body.is_empty()
                    || path.contains("variables")
                    || path.contains("locks")
            );
        }
        // Whatever was asked, the list is whole.
        place.list().await;
    });
}

/// A query, after a byte that says of what.
pub fn admin_query(bytes: &[u8]) {
    let Some((route, query)) = bytes.split_first() else {
        return;
    };
    let Ok(query) = std::str::from_utf8(query) else {
        return;
    };
    let path = QUERIES[usize::from(*route) % QUERIES.len()];
    let place = Place::new();
    place.block_on(async {
        let uri = format!("{}?{query}", place.path(path).await);
        // What is no URI, HTTP refuses before.
        let Ok(uri) = uri.parse::<Uri>() else {
            return;
        };
        let answer = place.ask(request("GET", uri)).await;
        assert!(matches!(answer.status, 200 | 204 | 400 | 404), "{answer:?}");
        place.list().await;
    });
}

/// The headers that say whose page a request comes from, a line each: `Host`, `Origin`, `Sec-Fetch-Site` in this order, as
/// many as there are. Who calls this machine by a name of another, or comes from another site, is let in never.
pub fn admin_guard(bytes: &[u8]) {
    let names = [HOST.as_str(), ORIGIN.as_str(), "sec-fetch-site"];
    let mut headers = HeaderMap::new();
    for (line, name) in bytes
        .split(|byte| *byte == b'\n')
        .take(9)
        .zip(names.iter().cycle())
    {
        if line.is_empty() {
            continue;
        }
        let Ok(value) = HeaderValue::from_bytes(line) else {
            return;
        };
        headers.append(*name, value);
    }
    let place = Place::new();
    place.block_on(async {
        let mut request = request("GET", "/v1/sessions".parse().unwrap());
        let authorization = request.headers_mut().remove(AUTHORIZATION);
        *request.headers_mut() = headers.clone();
        request
            .headers_mut()
            .extend(authorization.map(|value| (AUTHORIZATION, value)));
        let status = place.ask(request).await.status;
        assert!(
            matches!(status, 200 | 400 | 403 | 421),
            "{status} {headers:?}"
        );
        if status == 200 {
            let all = |name: &str| -> Vec<String> {
                let values = headers.get_all(name).iter();
                values
                    .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                    .collect()
            };
            let [host] = &all("host")[..] else {
                panic!("{headers:?}");
            };
            assert!(is_of_this_machine(host), "{host}");
            let sites = all("sec-fetch-site");
            assert!(
                sites
                    .iter()
                    .all(|site| matches!(site.as_str(), "same-origin" | "none"))
            );
            if sites.is_empty() {
                let own = |origin: &String| origin.ends_with(&format!("://{host}"));
                assert!(all("origin").iter().all(own), "{headers:?}");
            }
        }
    });
}

fn is_of_this_machine(host: &str) -> bool {
    let name = match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap(),
    };
    let address = name.trim_matches(['[', ']']);
    let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    name.to_lowercase() == "localhost"
        || host.parse().is_ok_and(is_loopback)
        || address.parse().is_ok_and(is_loopback)
}

fn request(method: &str, uri: Uri) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = uri;
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_static("localhost"));
    request
}

/// A registry in memory behind the admin routes, with nobody in it yet.
struct Place {
    runtime: tokio::runtime::Runtime,
    router: Router,
    bearer: HeaderValue,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

impl Place {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let token = Token::mint().unwrap();
        let access = AdminAccess {
            admin_token: token.hash(),
            app_token: None,
        };
        let registry = {
            let _guard = runtime.enter();
            Registry::new(MemoryStore::new(Settings::default()), Arc::new(SystemClock))
        };
        Self {
            runtime,
            router: admin_routes(registry, access),
            bearer: HeaderValue::from_str(&format!("Bearer {}", token.expose())).unwrap(),
        }
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The path, with the id of a new session where it has `{}`.
    async fn path(&self, path: &str) -> String {
        if !path.contains("{}") {
            return path.into();
        }
        let mut request = request("POST", "/v1/sessions".parse().unwrap());
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Body::from(r#"{"user":"ana"}"#);
        let answer = self.ask(request).await;
        let opened: Value = serde_json::from_str(&answer.body).unwrap();
        path.replace("{}", opened["session"]["id"].as_str().unwrap())
    }

    async fn list(&self) {
        let answer = self
            .ask(request("GET", "/v1/sessions".parse().unwrap()))
            .await;
        let list: Value = serde_json::from_str(&answer.body).unwrap();
        let items = list["items"].as_array().unwrap();
        assert_eq!(Some(items.len() as u64), list["total"].as_u64());
    }

    async fn ask(&self, mut request: Request<Body>) -> Answer {
        if !request.headers().contains_key(AUTHORIZATION) {
            request
                .headers_mut()
                .insert(AUTHORIZATION, self.bearer.clone());
        }
        let response = self.router.clone().call(request).await.unwrap();
        let status = response.status().as_u16();
        let media_type = response.headers().get(CONTENT_TYPE).cloned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(status < 500, "{status}: {body}");
        if status >= 400 {
            assert_eq!(media_type.unwrap(), "application/problem+json");
            let problem: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(problem["status"], status);
            assert!(body.bytes().all(|byte| byte >= b' '), "{body:?}");
            // As it is read: an escape next to a word would make it longer.
            let detail = problem["detail"].as_str().unwrap_or_default();
            assert!(!looks_like_secret(detail), "{body}");
        }
        Answer { status, body }
    }
}
