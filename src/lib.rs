//! Who is on my web server, and end that one: the library under `sessionctl`.
//!
//! Start at [`admin::Admin`], what an operator can do; [`registry::Registry`] does it, [`client::Client`] asks a server
//! to. ARCHITECTURE.md draws the map.

pub mod admin;
pub mod cli;
pub mod client;
pub mod clock;
pub mod cookie;
pub mod error;
pub mod options;
pub mod registry;
pub mod server;
pub mod session;
pub mod sessions;
pub mod store;
pub mod token;
pub mod wire;
