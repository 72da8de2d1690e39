//! Where the contract is tested: the registry itself, and the registry behind a server and its clients. Time stands
//! still unless a test moves it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{COOKIE, SET_COOKIE, USER_AGENT};
use sessionctl::admin::{
    Actor, Admin, EndRequest, Ending, OpenRequest, OptionsSet, Outcome, SetRequest,
};
use sessionctl::application::Application;
use sessionctl::client::{Address, Client};
use sessionctl::clock::{Clock as _, ManualClock, Timestamp};
use sessionctl::cookie::CookiePolicy;
use sessionctl::error::Error;
use sessionctl::options::{OptionState, Options, Value};
use sessionctl::registry::{OnClose, Registry};
use sessionctl::server::{self, AdminListener, GroupRoles, Listeners, TrustedProxies};
use sessionctl::session::{SessionId, State};
use sessionctl::sessions::{Entered, Sessions, Visit};
use sessionctl::store::Store;
use sessionctl::store::directory::DataDir;
use sessionctl::store::memory::MemoryStore;
use sessionctl::store::sqlite::SqliteStore;
use sessionctl::token::Token;
use sessionctl::wire::{Problem, VisitBody};
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::app_client::{AppClient, http};

/// Makes a test of each rule in each place.
macro_rules! in_every_place {
    ($places:ident { $($place:ident),+ } $rules:tt) => { mod $places { $($crate::places::in_every_place!(@place $place $rules);)+ } };
    (@place $place:ident { $($rule:ident),+ $(,)? }) => {
        #[allow(non_snake_case)]
        mod $place {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::super::$rule::<super::super::$place>().await;
            })+
        }
    };
}
pub(crate) use in_every_place;

/// Monday, 01:00:00 UTC.
pub(crate) const MONDAY: &str = "2026-11-23T01:00:00Z";

/// Whether the registry does its own work, or the test does it step by step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Regular,
    ByHand,
}

/// Somewhere the contract holds.
pub(crate) trait Place: Sized {
    type Admin: Admin;
    type Web: Sessions;
    type App: Application;
    type Store: Store;

    async fn start(options: Options, work: Work) -> Self {
        Self::start_calling(OnClose::default(), options, work).await
    }
    /// The same with an on-close method.
    async fn start_calling(on_close: OnClose, options: Options, work: Work) -> Self;
    fn admin(&self) -> &Self::Admin;
    fn web(&self) -> &Self::Web;
    fn app(&self) -> &Self::App;
    fn registry(&self) -> &Registry<Self::Store>;
    fn clock(&self) -> &ManualClock;

    fn now(&self) -> Timestamp {
        self.clock().now()
    }

    async fn enter(&self) -> (SessionId, Token) {
        let Entered { visit, new_token } =
            self.web().enter(None, browser()).await.expect("a session");
        (visit.id, new_token.expect("a new token"))
    }

    /// A client that brings a cookie; answers its session.
    async fn enter_with(&self, token: &Token) -> SessionId {
        let entered = self.web().enter(Some(token), browser()).await;
        entered.expect("a session").visit.id
    }

    async fn is_live(&self, token: &Token) -> bool {
        self.web()
            .check(token, None, false)
            .await
            .expect("an answer")
            .is_some()
    }

    async fn close(&self, id: SessionId) -> Outcome {
        self.admin().close(id, waiting()).await.expect("an outcome")
    }

    async fn set(&self, name: &str, value: Value) -> Result<OptionsSet, Error> {
        let change = (name.to_owned(), Some(value));
        self.admin().set_options(setting(vec![change])).await
    }

    async fn reset(&self, name: &str) -> Result<OptionsSet, Error> {
        self.admin()
            .set_options(setting(vec![(name.to_owned(), None)]))
            .await
    }

    async fn option(&self, name: &str) -> OptionState {
        let options = self.admin().options().await.expect("the options");
        options
            .into_iter()
            .find(|state| state.name == name)
            .expect("an option")
    }

    /// A client of its own address.
    async fn enter_from(&self, ip: &str) -> Result<Entered, Error> {
        self.web().enter(None, from(ip)).await
    }

    /// A client whose cookie came back.
    async fn enter_confirmed(&self) -> (SessionId, Token) {
        let (id, token) = self.enter().await;
        assert!(
            self.web()
                .check(&token, None, true)
                .await
                .expect("an answer")
                .is_some()
        );
        (id, token)
    }

    /// Without those whose closing is under way.
    async fn live_ids(&self) -> Vec<SessionId> {
        let page = self.admin().list(Default::default()).await.expect("a page");
        let live = page
            .items
            .iter()
            .filter(|session| session.state != State::Closing);
        live.map(|session| session.id).collect()
    }

    async fn ids(&self) -> Vec<SessionId> {
        let page = self.admin().list(Default::default()).await.expect("a page");
        page.items.iter().map(|session| session.id).collect()
    }
}

/// A place whose sessions outlive the process.
pub(crate) trait Durable: Place {
    async fn restart(self) -> Self;
}

pub(crate) fn browser() -> OpenRequest {
    OpenRequest {
        user_agent: Some("test browser".into()),
        ..OpenRequest::default()
    }
}

pub(crate) fn from(ip: &str) -> OpenRequest {
    OpenRequest {
        ip: Some(ip.parse().expect("an address")),
        ..browser()
    }
}

/// A change of options that ends nobody.
pub(crate) fn setting(changes: Vec<(String, Option<Value>)>) -> SetRequest {
    SetRequest {
        changes,
        may_end: false,
        dry_run: false,
        actor: Actor::user(0),
    }
}

pub(crate) fn operator() -> EndRequest {
    EndRequest::by(Actor::user(0))
}

pub(crate) fn waiting() -> EndRequest {
    EndRequest {
        wait: Duration::from_secs(30),
        ..operator()
    }
}

pub(crate) fn roomy() -> Options {
    Options {
        max_sessions: 10_000,
        open_rate: None,
        ..Options::default()
    }
}

/// A registry with its work going on.
pub(crate) struct Running<S: Store> {
    registry: Registry<S>,
    stop: Option<oneshot::Sender<()>>,
    work: Option<JoinHandle<()>>,
    clock: ManualClock,
    options: Options,
    on_close: OnClose,
}

impl<S: Store> Running<S> {
    fn start(
        store: S,
        clock: ManualClock,
        options: Options,
        on_close: OnClose,
        work: Work,
    ) -> Self {
        let registry = Registry::with_on_close(store, Arc::new(clock.clone()), on_close.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = registry.clone();
        let work = (work == Work::Regular).then(|| {
            tokio::spawn(async move {
                // A store that a test has broken has nothing to write.
                let _ = running.run(async { drop(stopped.await) }).await;
            })
        });
        Self {
            registry,
            stop: Some(stop),
            work,
            clock,
            options,
            on_close,
        }
    }

    async fn stop(&mut self) {
        self.stop.take();
        if let Some(work) = self.work.take() {
            work.await.expect("the registry's work ends in peace");
        }
    }
}

fn monday() -> ManualClock {
    ManualClock::at(MONDAY.parse().expect("an instant"))
}

/// The registry over the live set alone.
pub(crate) struct InMemory(Running<MemoryStore>);

impl Place for InMemory {
    type Admin = Registry<MemoryStore>;
    type Web = Registry<MemoryStore>;
    type App = Registry<MemoryStore>;
    type Store = MemoryStore;

    async fn start_calling(on_close: OnClose, options: Options, work: Work) -> Self {
        Self(Running::start(
            MemoryStore::new(options.clone().into()),
            monday(),
            options,
            on_close,
            work,
        ))
    }
    fn app(&self) -> &Self::App {
        &self.0.registry
    }
    fn admin(&self) -> &Self::Admin {
        &self.0.registry
    }
    fn web(&self) -> &Self::Web {
        &self.0.registry
    }
    fn registry(&self) -> &Registry<MemoryStore> {
        &self.0.registry
    }
    fn clock(&self) -> &ManualClock {
        &self.0.clock
    }
}

/// The registry over a data directory.
pub(crate) struct OnDisk {
    running: Running<SqliteStore>,
    directory: TempDir,
}

impl OnDisk {
    fn open(
        directory: TempDir,
        clock: ManualClock,
        options: Options,
        on_close: OnClose,
        work: Work,
    ) -> Self {
        let data = DataDir::exclusive(directory.path(), true).expect("the directory");
        let store = SqliteStore::open(data, options.clone().into()).expect("the store");
        Self {
            running: Running::start(store, clock, options, on_close, work),
            directory,
        }
    }

    /// Stops and lets go of the directory.
    async fn close(mut self) -> (TempDir, ManualClock, Options, OnClose) {
        self.running.stop().await;
        let Self {
            running:
                Running {
                    registry,
                    clock,
                    options,
                    on_close,
                    ..
                },
            directory,
        } = self;
        drop(registry);
        (directory, clock, options, on_close)
    }
}

impl Place for OnDisk {
    type Admin = Registry<SqliteStore>;
    type Web = Registry<SqliteStore>;
    type App = Registry<SqliteStore>;
    type Store = SqliteStore;

    async fn start_calling(on_close: OnClose, options: Options, work: Work) -> Self {
        Self::open(
            tempfile::tempdir().expect("a directory"),
            monday(),
            options,
            on_close,
            work,
        )
    }
    fn app(&self) -> &Self::App {
        &self.running.registry
    }
    fn admin(&self) -> &Self::Admin {
        &self.running.registry
    }
    fn web(&self) -> &Self::Web {
        &self.running.registry
    }
    fn registry(&self) -> &Registry<SqliteStore> {
        &self.running.registry
    }
    fn clock(&self) -> &ManualClock {
        &self.running.clock
    }
}

impl Durable for OnDisk {
    async fn restart(self) -> Self {
        let work = if self.running.work.is_some() {
            Work::Regular
        } else {
            Work::ByHand
        };
        let (directory, clock, options, on_close) = self.close().await;
        Self::open(directory, clock, options, on_close, work)
    }
}

/// The registry over a data directory, behind a server; operators over its unix socket, clients over its web port.
pub(crate) struct BehindServer {
    disk: OnDisk,
    admin: Client,
    web: WebClient,
    app: AppClient,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl BehindServer {
    async fn serve(disk: OnDisk) -> Self {
        let socket = disk.directory.path().join("admin.sock");
        let _ = std::fs::remove_file(&socket);
        let admin = AdminListener::Unix(UnixListener::bind(&socket).expect("a socket"));
        let web = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let cookie = CookiePolicy::of(&disk.running.options);
        let client = WebClient::new(
            format!("http://{}", web.local_addr().expect("an address")),
            cookie,
        );
        let (stop, stopped) = oneshot::channel::<()>();
        let registry = disk.running.registry.clone();
        let app_token = Token::mint().expect("a token");
        let listeners = Listeners {
            web,
            admin,
            app_token: Some(app_token.hash()),
            group_roles: GroupRoles::default(),
            web_connections: 64,
            trusted_proxies: TrustedProxies::new(vec!["127.0.0.1/32".parse().expect("a network")]),
        };
        let server = tokio::spawn(server::serve(registry, listeners, async {
            drop(stopped.await)
        }));
        let app = AppClient::new(&socket, &app_token);
        let admin = Client::new(&Address::Unix(socket), None).expect("a client");
        Self {
            disk,
            admin,
            web: client,
            app,
            stop: Some(stop),
            server,
        }
    }

    /// A server over a directory that has sessions already.
    pub(crate) fn over(
        directory: TempDir,
        clock: ManualClock,
        options: Options,
    ) -> impl Future<Output = Self> {
        let on_close = OnClose::default();
        Self::serve(OnDisk::open(
            directory,
            clock,
            options,
            on_close,
            Work::Regular,
        ))
    }

    /// What stops the server when it goes out of scope.
    pub(crate) fn stop_later(&mut self) -> impl Drop + use<> {
        self.stop.take().expect("nobody has stopped it")
    }

    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.disk.directory.path().join("admin.sock")
    }
}

impl Place for BehindServer {
    type Admin = Client;
    type Web = WebClient;
    type App = AppClient;
    type Store = SqliteStore;

    async fn start_calling(on_close: OnClose, options: Options, work: Work) -> Self {
        Self::serve(OnDisk::start_calling(on_close, options, work).await).await
    }
    fn app(&self) -> &AppClient {
        &self.app
    }
    fn admin(&self) -> &Client {
        &self.admin
    }
    fn web(&self) -> &WebClient {
        &self.web
    }
    fn registry(&self) -> &Registry<SqliteStore> {
        self.disk.registry()
    }
    fn clock(&self) -> &ManualClock {
        self.disk.clock()
    }
}

impl Durable for BehindServer {
    async fn restart(mut self) -> Self {
        self.stop.take();
        self.server.await.expect("the server ends in peace");
        Self::serve(self.disk.restart().await).await
    }
}

/// `Sessions` as a browser has it: over HTTP, with a cookie.
pub(crate) struct WebClient {
    http: reqwest::Client,
    url: String,
    cookie: CookiePolicy,
}

impl WebClient {
    fn new(url: String, cookie: CookiePolicy) -> Self {
        let http = http().build().expect("an HTTP client");
        Self { http, url, cookie }
    }

    fn pair(&self, token: &Token) -> String {
        format!("{}={}", self.cookie.name(), token.expose())
    }

    async fn refused(response: reqwest::Response) -> Error {
        let bytes = response.bytes().await.expect("a body");
        serde_json::from_slice::<Problem>(&bytes)
            .expect("a problem")
            .into_error("the web listener")
    }
}

fn max_age(set_cookie: &str) -> Duration {
    let age = set_cookie
        .split("; ")
        .find_map(|word| word.strip_prefix("Max-Age="));
    Duration::from_secs(age.expect("a lifetime").parse().expect("seconds"))
}

impl Sessions for WebClient {
    fn cookie(&self) -> Result<Arc<CookiePolicy>, Error> {
        Ok(Arc::new(self.cookie.clone()))
    }

    async fn enter(&self, token: Option<&Token>, client: OpenRequest) -> Result<Entered, Error> {
        let mut request = self.http.get(format!("{}/session", self.url));
        if let Some(ip) = client.ip {
            request = request.header("X-Forwarded-For", ip.to_string());
        }
        if let Some(token) = token {
            request = request.header(COOKIE, self.pair(token));
        }
        let response = request
            .header(USER_AGENT, client.user_agent.unwrap_or_default())
            .send()
            .await
            .expect("an answer");
        if response.status() != StatusCode::OK {
            return Err(Self::refused(response).await);
        }
        let set = response
            .headers()
            .get(SET_COOKIE)
            .expect("a cookie")
            .to_str()
            .expect("text")
            .to_owned();
        let value = set
            .strip_prefix(&format!("{}=", self.cookie.name()))
            .expect("our cookie");
        let given = Token::parse(value.split(';').next().expect("a value")).expect("a token");
        let new_token = token
            .is_none_or(|token| !token.hash().matches(&given.hash()))
            .then_some(given);
        let body: VisitBody =
            serde_json::from_slice(&response.bytes().await.expect("a body")).expect("a visit");
        let VisitBody {
            id,
            user,
            state,
            expires_at,
        } = body;
        Ok(Entered {
            visit: Visit {
                id,
                user: user.map(Arc::from),
                state,
                expires_at,
                lifetime: max_age(&set),
            },
            new_token,
        })
    }

    async fn check(
        &self,
        token: &Token,
        from: Option<IpAddr>,
        touch: bool,
    ) -> Result<Option<Visit>, Error> {
        let url = format!("{}/check{}", self.url, if touch { "" } else { "?touch=0" });
        let from = from.map_or_else(String::new, |from| from.to_string());
        let response = self
            .http
            .get(url)
            .header("X-Forwarded-For", from)
            .header(COOKIE, self.pair(token))
            .send()
            .await
            .expect("an answer");
        assert!(
            response.headers().get(SET_COOKIE).is_none(),
            "a check gives no cookie"
        );
        match response.status() {
            StatusCode::OK => {
                let header = |name| {
                    response
                        .headers()
                        .get(name)
                        .map(|value| std::str::from_utf8(value.as_bytes()).expect("text"))
                };
                let id = header("x-session-id")
                    .expect("an id")
                    .parse()
                    .expect("a UUID");
                let user = header("x-session-user").map(Arc::from);
                Ok(Some(Visit {
                    id,
                    user,
                    state: State::Active,
                    expires_at: None,
                    lifetime: Duration::ZERO,
                }))
            }
            StatusCode::UNAUTHORIZED => Ok(None),
            _ => Err(Self::refused(response).await),
        }
    }

    async fn log_out(&self, token: &Token) -> Result<Option<Outcome>, Error> {
        let id = self.check(token, None, false).await?.map(|visit| visit.id);
        let request = self
            .http
            .post(format!("{}/logout", self.url))
            .header(COOKIE, self.pair(token));
        let response = request.send().await.expect("an answer");
        let deletion = response
            .headers()
            .get(SET_COOKIE)
            .expect("the cookie's deletion")
            .to_str()
            .expect("text");
        assert!(
            deletion.starts_with(&format!("{}=; ", self.cookie.name()))
                && deletion.contains("Max-Age=0")
        );
        match (response.status(), id) {
            (StatusCode::NO_CONTENT, Some(id)) => Ok(Some(Outcome {
                id,
                outcome: Ending::Closing,
                initiated: true,
                cause: None,
                user: None,
                freed: Default::default(),
                on_close: Vec::new(),
            })),
            (StatusCode::UNAUTHORIZED, None) => Ok(None),
            (status, _) => panic!("{status}"),
        }
    }
}
