//! The session server over HTTP: two listeners, the web one for clients, the admin one for operators. Generic over the
//! traits; it does not know who keeps the sessions.

mod admin;
mod answer;
mod auth;
mod connection;
mod origin;
mod proxies;
mod web;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::admin::Admin;
use crate::sessions::Sessions;
use crate::token::TokenHash;
use crate::wire::{Fault, path};

use self::answer::fault;
use self::connection::accept;
pub use self::proxies::TrustedProxies;

/// Where the admin API listens. There is no open variant: whoever comes over TCP must present the token.
pub enum AdminListener {
    /// A socket of this machine; the peer's user is checked.
    Unix(UnixListener),
    /// A loopback address; the token is checked.
    Tcp(TcpListener, TokenHash),
}

/// The listeners of a server, bound already: nobody waits for a port that is not open yet.
pub struct Listeners {
    /// For web clients.
    pub web: TcpListener,
    /// For operators.
    pub admin: AdminListener,
    /// Web clients that are connected at once; more wait. What is left of the limit of open files is the operators'.
    pub web_connections: usize,
    /// Proxies that are believed about whom they speak for.
    pub trusted_proxies: TrustedProxies,
}

/// Operators that are connected at once; more wait.
const ADMIN_CONNECTIONS: usize = 96;

/// What the handlers share.
pub(crate) struct Shared<T> {
    service: T,
    trusted_proxies: TrustedProxies,
    admin_token: Option<TokenHash>,
}

/// Serves `service` until `stop` is ready, then lets requests that are under way finish for a while.
pub async fn serve<T>(service: T, listeners: Listeners, stop: impl Future<Output = ()>)
where
    T: Admin + Sessions + 'static,
{
    let Listeners {
        web: web_listener,
        admin: admin_listener,
        web_connections,
        trusted_proxies,
    } = listeners;
    let admin_token = match &admin_listener {
        AdminListener::Unix(_) => None,
        AdminListener::Tcp(_, hash) => Some(*hash),
    };
    let shared = Arc::new(Shared {
        service,
        trusted_proxies,
        admin_token,
    });
    let web = finished(web::routes(), &shared);
    let admin = finished(admin::routes(&shared), &shared);
    let (stopping, stopped) = watch::channel(false);
    let stop = async {
        stop.await;
        stopping.send_replace(true);
    };
    let admin = async {
        match admin_listener {
            AdminListener::Unix(listener) => {
                accept(listener, ADMIN_CONNECTIONS, admin, stopped.clone()).await
            }
            AdminListener::Tcp(listener, _) => {
                accept(listener, ADMIN_CONNECTIONS, admin, stopped.clone()).await
            }
        }
    };
    tokio::join!(
        stop,
        accept(web_listener, web_connections, web, stopped.clone()),
        admin
    );
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

async fn ready<T: Admin>(State(shared): State<Arc<Shared<T>>>) -> Response {
    match shared.service.ready().await {
        Ok(()) => answer::empty(StatusCode::OK),
        Err(error) => answer::error(&error),
    }
}
