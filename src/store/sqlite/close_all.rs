//! Closes every session of a store that is, or may be, an older copy: nobody knows what was closed since (S12).

use rusqlite::Connection;

use super::columns::{Result, execute};
use super::load::Loaded;
use super::{rows, settings};
use crate::audit::{Action, Actor, Order};
use crate::clock::Timestamp;
use crate::session::Seq;

/// Numbers that are left out at least: more than a store can have given since a copy was made of it.
const LEAP: u64 = 1 << 32;

/// How far time alone makes numbers leap: one wrong clock is not to put them beyond 2^53, where JSON's readers round. That is
/// in the year 2248, and leaves room for two hundred copies that were brought back under such a clock.
const LATEST_LEAP: u64 = (1 << 53) - (200 * LEAP);

/// Numbers for each millisecond of time: more than a store can give, and few enough for numbers that JSON can hold.
const PER_MILLISECOND: u64 = 1 << 10;

/// Sessions whose closing begins at once.
const BATCH: usize = 4_096;

/// The order to close every session of a store.
#[derive(Clone, Debug)]
pub struct CloseAll {
    /// Who, for the record.
    pub actor: Actor,
    /// When.
    pub now: Timestamp,
    /// What was ordered, for the audit record.
    pub action: Action,
}

/// What ended with an order to close every session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedAll {
    /// Sessions whose closing began.
    pub sessions: usize,
    /// Admin tokens that were revoked: all that the store had.
    pub tokens: usize,
}

/// Begins the closing of every live session, in one commit. Admin tokens are revoked: nobody knows which of them had been. The
/// store is another one from here on, with greater numbers than any other life of the copy can have given, so that fences
/// grow (C17).
pub(super) fn close_all(
    connection: &mut Connection,
    loaded: &mut Loaded,
    order: &CloseAll,
) -> Result<ClosedAll> {
    let transaction = connection.transaction()?;
    let live = &mut loaded.live;
    let now = order.now.max(live.latest());
    live.leap_to(next_life(live.durable(), now), now);
    // What was handed out since is not handed out once more (C05).
    live.dismiss_saved_of_closed();
    execute(&transaction, "UPDATE closings SET inherited = 1", [])?;
    let (mut sessions, mut after) = (0, Seq(0));
    loop {
        let (begun, closed, last) = live.close_all(after, BATCH, &order.actor, now);
        begun
            .iter()
            .try_for_each(|row| rows::write(&transaction, row))?;
        live.publish(&begun);
        loaded.ended.extend(rows::ended(&begun));
        sessions += closed;
        match last {
            Some(last) => after = last,
            None => break,
        }
    }
    let tokens = live.forget_tokens();
    execute(&transaction, "DELETE FROM tokens", [])?;
    let detail = format!(
        "{}, {}",
        in_words(sessions, "session ended", "sessions ended"),
        in_words(tokens, "admin token revoked", "admin tokens revoked")
    );
    let audited = live.audited(Order::by(&order.actor, order.action, detail, now));
    rows::write(&transaction, &audited)?;
    live.publish(&[audited]);
    settings::write_number(&transaction, live.durable())?;
    settings::renew_identity(&transaction)?;
    transaction.commit()?;
    Ok(ClosedAll { sessions, tokens })
}

/// What the audit record says of it.
pub(super) fn in_words(count: usize, one: &str, several: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {several}"),
    }
}

/// The number after which a store goes on that comes from a copy. Time alone tells two lives of one copy apart.
fn next_life(last: Seq, now: Timestamp) -> Seq {
    let by_time = u64::try_from(now.as_millis())
        .unwrap_or_default()
        .saturating_mul(PER_MILLISECOND)
        .min(LATEST_LEAP);
    Seq(last.0.saturating_add(LEAP).max(by_time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_life_has_greater_numbers_that_json_can_hold() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let first = next_life(Seq(17), at("2026-11-24T12:00:00Z"));
        let second = next_life(Seq(17), at("2026-11-24T12:00:01Z"));
        // As many changes as a second can have.
        assert!(second.0 > first.0 + 1_000_000);
        let backwards = next_life(second, at("2020-01-01T00:00:00Z"));
        assert!(backwards.0 >= second.0 + LEAP);
        let far = next_life(Seq(17), at("2200-01-01T00:00:00Z"));
        assert!(far.0 < 1 << 53);
        let mut wrong = Seq(17);
        for _ in 0..100 {
            wrong = next_life(wrong, at("9999-12-31T23:59:59Z"));
            assert!(wrong.0 < 1 << 53);
        }
        assert!(wrong.0 > LATEST_LEAP + 98 * LEAP, "each life has its own");
    }
}
