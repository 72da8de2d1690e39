//! Who is on my web server, and end that one: the library under `sessionctl`.
//!
//! Start at [`admin::Admin`], what an operator can do; [`registry::Registry`] does it, [`client::Client`] asks a server
//! to. ARCHITECTURE.md draws the map.
//!
//! # In an application of your own
//!
//! An axum application can keep its sessions in a registry of its own and mount the admin routes in its router. The same
//! `sessionctl` then works on it: it lists the application's sessions and ends them, whatever else the application serves.
//!
//! ```
//! use std::sync::Arc;
//!
//! use axum::extract::State;
//! use axum::http::{HeaderMap, HeaderName, header};
//! use axum::routing::get;
//! use axum::Router;
//! use sessionctl::admin::{Admin, OpenRequest};
//! use sessionctl::client::{Address, Client};
//! use sessionctl::clock::SystemClock;
//! use sessionctl::cookie::Presented;
//! use sessionctl::options::Settings;
//! use sessionctl::registry::Registry;
//! use sessionctl::server::{AdminAccess, admin_routes};
//! use sessionctl::sessions::Sessions;
//! use sessionctl::store::memory::MemoryStore;
//! use sessionctl::token::Token;
//!
//! type Sessioned = Registry<MemoryStore>;
//!
//! /// Greets a client by its session; gives it one if it has none.
//! async fn hello(
//!     State(sessions): State<Sessioned>,
//!     headers: HeaderMap,
//! ) -> Result<([(HeaderName, String); 1], String), String> {
//!     let failed = |error: sessionctl::error::Error| error.to_string();
//!     let cookie = sessions.cookie().map_err(failed)?;
//!     let sent = headers.get_all(header::COOKIE).iter().map(|value| value.as_bytes());
//!     let token = match cookie.read(sent) {
//!         Presented::Token(token) => Some(token),
//!         _ => None,
//!     };
//!     let entered = sessions.enter(token.as_ref(), OpenRequest::default()).await.map_err(failed)?;
//!     let token = entered.new_token.or(token).ok_or("no token")?;
//!     let set_cookie = cookie.set(&token, entered.visit.lifetime);
//!     Ok(([(header::SET_COOKIE, set_cookie)], format!("hello, {}", entered.visit.id)))
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let store = MemoryStore::new(Settings::default());
//! let registry = Registry::new(store, Arc::new(SystemClock));
//!
//! // Whoever has this token may use the admin routes; only its hash is kept.
//! let token = Token::mint()?;
//! let access = AdminAccess { admin_token: token.hash(), app_token: None };
//! let router = Router::new()
//!     .route("/", get(hello))
//!     .with_state(registry.clone())
//!     .merge(admin_routes(registry.clone(), access));
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let url = format!("http://{}", listener.local_addr()?);
//! let server = tokio::spawn(async move { axum::serve(listener, router).await });
//! // Closings are finished and sessions expire while this runs.
//! let work = tokio::spawn({
//!     let registry = registry.clone();
//!     async move { registry.run(std::future::pending()).await }
//! });
//!
//! // A client comes; an operator sees it, and ends it.
//! # // This crate's reqwest has no provider of cryptography of its own.
//! # let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
//! let greeting = reqwest::get(&url).await?.text().await?;
//! let address: Address = url.parse()?;
//! let operator = Client::new(&address, Some(&token))?;
//! let page = operator.list(Default::default()).await?;
//! assert_eq!(page.total, 1);
//! assert_eq!(greeting, format!("hello, {}", page.items[0].id));
//!
//! // The command line does the same. The token is in a file that nobody else can read.
//! # let directory = tempfile::tempdir()?;
//! # let token_file = directory.path().join("admin.token");
//! # std::fs::write(&token_file, token.expose())?;
//! # use std::os::unix::fs::PermissionsExt;
//! # std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o600))?;
//! # let token_file = token_file.to_str().ok_or("a path")?.to_owned();
//! let id = page.items[0].id.to_string();
//! let arguments = ["sessionctl", "--server", &url, "--token-file", &token_file, "close-session", &id];
//! # let host = sessionctl::cli::Host {
//! #     args: arguments.iter().map(std::ffi::OsString::from).collect(),
//! #     environment: Default::default(),
//! #     stdin: Box::new(std::io::empty()),
//! #     stdout: Box::new(std::io::sink()),
//! #     stderr: Box::new(std::io::stderr()),
//! #     terminal_width: None,
//! #     stderr_is_terminal: false,
//! #     stdin_is_terminal: false,
//! #     clock: Arc::new(SystemClock),
//! # };
//! # let exit = tokio::task::spawn_blocking(move || sessionctl::cli::run(host)).await?;
//! # assert_eq!(exit, 0);
//! assert_eq!(registry.list(Default::default()).await?.total, 0);
//! # server.abort();
//! # work.abort();
//! # Ok(())
//! # })
//! # }
//! ```

pub mod access;
pub mod admin;
pub mod application;
pub mod audit;
pub mod cli;
pub mod client;
pub mod clock;
pub mod context;
pub mod cookie;
pub mod error;
mod json;
pub mod on_close;
pub mod options;
pub mod registry;
pub mod server;
pub mod session;
pub mod sessions;
pub mod store;
pub mod token;
pub mod wire;
