//! The session server over HTTP: two listeners, the web one for clients, the admin one for operators and for the application.
//! Generic over the traits; it does not know who keeps the sessions.

mod admin;
mod answer;
mod application;
mod auth;
mod connection;
mod extract;
mod groups;
mod head;
mod origin;
mod places;
mod proxies;
mod stream;
mod tls;
mod waiting;
mod web;

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use axum::{Router, middleware};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::access::Access;
use crate::admin::Admin;
use crate::application::Application;
use crate::error::Error;
use crate::sessions::Sessions;
use crate::token::TokenHash;
use crate::wire::{Fault, path};

use self::answer::fault;
use self::auth::{Caller, FileTokens, authenticate, still_good};
use self::connection::accept;
pub use self::groups::GroupRoles;
use self::origin::guard;
use self::places::Places;
pub use self::proxies::TrustedProxies;
use self::tls::TlsListener;
pub use self::tls::{Tls, TlsError, TlsIdentity};
use self::waiting::Waiting;

/// Where the admin API listens. There is no open variant: whoever comes over TCP must present the token.
pub enum AdminListener {
    /// A socket of this machine; the peer's user is checked.
    Unix(UnixListener),
    /// A loopback address; the token is checked.
    Tcp(TcpListener, TokenHash),
    /// Any address; the token is checked, and nothing crosses the network unprotected.
    Tls(TcpListener, Tls, TokenHash),
}

/// The listeners of a server, bound already: nobody waits for a port that is not open yet.
pub struct Listeners {
    /// For web clients.
    pub web: TcpListener,
    /// For operators, and for the application with its token.
    pub admin: AdminListener,
    /// The application's token, if it has one: it opens and signs in sessions, and works with their processes.
    pub app_token: Option<TokenHash>,
    /// What other users of this machine may on a socket.
    pub group_roles: GroupRoles,
    /// Web clients that are connected at once; for one more, who has waited longest without a request gives way. What is left of the limit of open files is the admin listener's.
    pub web_connections: usize,
    /// Proxies that are believed about whom they speak for.
    pub trusted_proxies: TrustedProxies,
}

/// Who may use [`admin_routes`].
#[derive(Clone, Copy, Debug)]
pub struct AdminAccess {
    /// The operators' token: it is good for everything.
    pub admin_token: TokenHash,
    /// The application's token, if it has one: it is good for the application's own routes.
    pub app_token: Option<TokenHash>,
}

/// Connections to the admin listener at once; for one more, who has waited longest without a request gives way.
const ADMIN_CONNECTIONS: usize = waiting::PLACES + 128;

/// What the handlers share.
pub(crate) struct Shared<T> {
    service: T,
    trusted_proxies: TrustedProxies,
    tokens: FileTokens,
    group_roles: GroupRoles,
    /// The certificate, whose names the admin API has too.
    tls: Option<Tls>,
    waiting: Waiting,
}

impl<T: Access> Shared<T> {
    /// Asks patiently for a caller, who is refused if it is let in no longer before there is an answer.
    async fn patient<A, F>(
        &self,
        caller: &Caller,
        wait: Duration,
        ask: impl Fn(Duration) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<A, Error>>,
    {
        let until_gone = self.until_gone(caller);
        let answer = self.waiting.patient(wait, until_gone, ask).await;
        answer.unwrap_or(Err(Error::Unauthenticated))
    }

    async fn until_gone(&self, caller: &Caller) {
        match caller.token {
            Some(token) => self.service.until_gone(token).await,
            None => pending().await,
        }
    }
}

type App<T> = State<Arc<Shared<T>>>;

/// Serves `service` until `stop` is ready, then lets requests that are under way finish for a while. Those that only wait
/// are answered at once.
pub async fn serve<T>(service: T, listeners: Listeners, stop: impl Future<Output = ()>)
where
    T: Admin + Sessions + Application + Access + 'static,
{
    let Listeners {
        web: web_listener,
        admin: admin_listener,
        app_token,
        group_roles,
        web_connections,
        trusted_proxies,
    } = listeners;
    let admin_token = match &admin_listener {
        AdminListener::Unix(_) => None,
        AdminListener::Tcp(_, hash) | AdminListener::Tls(_, _, hash) => Some(*hash),
    };
    let tls = match &admin_listener {
        AdminListener::Tls(_, tls, _) => Some(tls.clone()),
        AdminListener::Unix(_) | AdminListener::Tcp(..) => None,
    };
    let (stopping, stopped) = watch::channel(false);
    let web_places = Places::for_clients(web_connections, trusted_proxies.clone());
    let admin_places = Places::for_programs(ADMIN_CONNECTIONS);
    let shared = Arc::new(Shared {
        service,
        trusted_proxies,
        tokens: FileTokens {
            admin: admin_token,
            application: app_token,
        },
        group_roles,
        tls,
        waiting: Waiting::until(Some(stopped.clone())),
    });
    let web = finished(web::routes(), &shared);
    let admin = finished(admin_api(&shared), &shared);
    let stop = async {
        stop.await;
        stopping.send_replace(true);
    };
    let admin = async {
        match admin_listener {
            AdminListener::Unix(listener) => {
                accept(listener, admin_places, admin, stopped.clone()).await
            }
            AdminListener::Tcp(listener, _) => {
                accept(listener, admin_places, admin, stopped.clone()).await
            }
            AdminListener::Tls(listener, tls, _) => {
                let listener = TlsListener::new(listener, tls);
                accept(listener, admin_places, admin, stopped.clone()).await
            }
        }
    };
    tokio::join!(
        stop,
        accept(web_listener, web_places, web, stopped.clone()),
        admin
    );
}

/// Serves the admin API alone on a socket, until `stop` is ready: for who is called by a command without a server.
pub async fn serve_admin<T>(service: T, listener: UnixListener, stop: impl Future<Output = ()>)
where
    T: Admin + Application + Access + 'static,
{
    let (stopping, stopped) = watch::channel(false);
    let shared = Arc::new(Shared {
        service,
        trusted_proxies: TrustedProxies::default(),
        tokens: FileTokens::default(),
        group_roles: GroupRoles::default(),
        tls: None,
        waiting: Waiting::until(Some(stopped.clone())),
    });
    let admin = finished(admin_api(&shared), &shared);
    let stop = async {
        stop.await;
        stopping.send_replace(true);
    };
    let places = Places::for_programs(ADMIN_CONNECTIONS);
    tokio::join!(stop, accept(listener, places, admin, stopped));
}

/// The admin API as routes for somebody else's router: what [`serve`] has on its admin listener, for operators and for the
/// application, so that the same command line works on a server that embeds the sessions.
///
/// The paths are absolute: everything under `/v1`, and `/readyz`, which `sessionctl ping` asks for. Of `/healthz` and of
/// paths that do not exist, the other router knows more; there is no fallback here, so that [`Router::merge`] takes it.
///
/// Every request needs a token, and must name this machine as its `Host` (`localhost`, a loopback address): these routes
/// cannot see who connects, so nobody is believed to be local (S27, S28). Serve them on a loopback port.
pub fn admin_routes<T>(service: T, access: AdminAccess) -> Router
where
    T: Admin + Application + Access + 'static,
{
    let AdminAccess {
        admin_token,
        app_token,
    } = access;
    let shared = Arc::new(Shared {
        service,
        trusted_proxies: TrustedProxies::default(),
        tokens: FileTokens {
            admin: Some(admin_token),
            application: app_token,
        },
        group_roles: GroupRoles::default(),
        tls: None,
        waiting: Waiting::until(None),
    });
    admin_api(&shared)
        .route(path::READY, get(ready::<T>))
        .method_not_allowed_fallback(async || fault(Fault::Method))
        .with_state(shared)
}

/// Everything under `/v1`, all of it behind [`guard`] and [`authenticate`]. With `tls`, the server has the names of its
/// certificate.
fn admin_api<T>(shared: &Arc<Shared<T>>) -> Router<Arc<Shared<T>>>
where
    T: Admin + Application + Access + 'static,
{
    let shared = || Arc::clone(shared);
    admin::routes::<T>()
        .merge(application::routes::<T>())
        .route_layer(middleware::from_fn_with_state(shared(), still_good::<T>))
        .route_layer(middleware::from_fn(extract::known_query))
        .route_layer(middleware::from_fn_with_state(
            shared(),
            extract::whole::<T>,
        ))
        .route_layer(middleware::from_fn_with_state(shared(), authenticate::<T>))
        .route_layer(middleware::from_fn_with_state(shared(), guard::<T>))
}

/// Adds what both listeners have: health, and a problem for everything that is not there.
fn finished<T: Admin + 'static>(routes: Router<Arc<Shared<T>>>, shared: &Arc<Shared<T>>) -> Router {
    routes
        .route(path::HEALTH, get(async || StatusCode::OK))
        .route(path::READY, get(ready::<T>))
        .fallback(async || fault(Fault::Route))
        .method_not_allowed_fallback(async || fault(Fault::Method))
        .with_state(Arc::clone(shared))
}

async fn ready<T: Admin>(State(shared): App<T>) -> Response {
    match shared.service.ready().await {
        Ok(()) => answer::empty(StatusCode::OK),
        Err(error) => answer::error(&error),
    }
}
