//! The integration tests: one binary, so that they link once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines
)]

mod admin_contract;
mod app_client;
mod application_routes;
mod audit;
mod browser;
mod browser_sites;
mod canary;
mod closing_commands;
mod closing_contract;
mod closing_steps;
mod commands;
mod contexts;
mod cut_store;
mod described;
mod doctor;
mod fail_closed;
mod failures;
mod faulty_disk;
mod faulty_moments;
mod faulty_store;
mod forward_auth;
mod framing;
#[path = "../fuzz/src/lib.rs"]
mod fuzz;
mod fuzz_corpora;
mod generated;
mod given_files;
mod hostile_text;
mod json_bodies;
mod killer;
mod killer_check;
mod killer_clients;
mod killer_copies;
mod killer_deaths;
mod killer_history;
mod killer_look;
mod killer_made_up;
mod killer_runs;
mod limits_contract;
mod local;
mod lock_at_a_stop;
mod model;
mod model_drivers;
mod model_endings;
mod model_look;
mod model_registry;
mod model_rules;
mod model_steps;
mod model_work;
mod older_stores;
mod on_close_program;
mod openapi;
mod options_commands;
mod options_contract;
mod places;
mod plain_answers;
mod process_contract;
mod profiles;
mod random_changes;
mod roles;
mod sandbox;
mod site;
mod slow_clients;
mod sqlite;
mod stopped_server;
mod store_commands;
mod store_contract;
mod sync_order;
mod tidy;
mod tls;
mod tls_client;
mod tls_server;
mod tokens;
mod traefik;
mod web;
