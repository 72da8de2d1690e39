//! Who may use the admin API, and for what: roles, and the tokens that have them (S30, S31).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::session::words;

words! {
    /// What somebody is let in for. Whatever is not listed for a role is refused to it.
    Role {
        /// Looks: sessions, history, locks, options, counts. Names and sizes of what a process has, never its values.
        Viewer = "viewer",
        /// A viewer that also ends sessions.
        Closer = "closer",
        /// An operator: everything, also what an application may.
        Admin = "admin",
        /// The application whose sessions they are: opens them, signs users in, works with their processes.
        App = "app",
    }
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Closer, Self::Admin, Self::App];
}
