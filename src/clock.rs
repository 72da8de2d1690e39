//! The instant, and the clock that tells it. Nothing else in the crate reads the time of day: pure code takes `now`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in milliseconds since 1970-01-01T00:00:00Z; shown and exchanged as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The last instant that RFC 3339 can write: 9999-12-31T23:59:59.999Z.
const LAST_MILLIS: i64 = 253_402_300_799_999;

impl Timestamp {
    /// 1970-01-01T00:00:00Z, the expiration of every closed session (C03).
    pub const EPOCH: Self = Self(0);

    /// Builds an instant from milliseconds since the epoch, held within what RFC 3339 can write.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, LAST_MILLIS))
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The instant `duration` later, at most the last one that can be written.
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(LAST_MILLIS);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// The time from `earlier` to this instant; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The instant as the standard library's type.
    pub fn as_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self::EPOCH.plus(elapsed)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.as_system_time();
        // The one instant that is a sign and not a time is written short.
        if *self == Self::EPOCH {
            humantime::format_rfc3339_seconds(time).fmt(f)
        } else {
            humantime::format_rfc3339_millis(time).fmt(f)
        }
    }
}

impl FromStr for Timestamp {
    type Err = humantime::TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_rfc3339(text).map(Self::from)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Tells the time in two ways: what the wall says, which somebody may set, and what has passed, which nobody can.
pub trait Clock: Send + Sync + 'static {
    /// What the wall clock says.
    fn now(&self) -> Timestamp;

    /// The time since some fixed moment, also while the machine slept. It never goes back and never jumps.
    fn elapsed(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The clock that goes on while the machine sleeps: on Linux that is not the monotonic one.
#[cfg(target_os = "linux")]
const STEADY: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the operating system"
    )]
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn elapsed(&self) -> Duration {
        let time = rustix::time::clock_gettime(STEADY);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}

/// The time that sessions go by. It starts at what the wall clock says, or at the last instant that the store knows of if
/// that is later, and then follows what has passed: setting the wall clock moves no deadline (S14).
#[derive(Clone)]
pub struct Timeline {
    clock: Arc<dyn Clock>,
    start: Timestamp,
    started: Duration,
}

impl Timeline {
    /// A time line that starts now, and not before `latest`.
    pub fn starting(clock: Arc<dyn Clock>, latest: Timestamp) -> Self {
        let (start, started) = (clock.now().max(latest), clock.elapsed());
        Self {
            clock,
            start,
            started,
        }
    }

    /// The current instant.
    pub fn now(&self) -> Timestamp {
        self.start
            .plus(self.clock.elapsed().saturating_sub(self.started))
    }

    /// How far the wall clock is off, in milliseconds: above zero if it is ahead.
    pub fn wall_clock_ahead(&self) -> i64 {
        self.clock.now().as_millis() - self.now().as_millis()
    }
}

/// A clock that moves only when it is told to; clones share the same time. For tests and simulations.
#[derive(Clone, Debug)]
pub struct ManualClock {
    wall: Arc<AtomicI64>,
    elapsed: Arc<AtomicI64>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self {
            wall: Arc::new(AtomicI64::new(now.as_millis())),
            elapsed: Arc::default(),
        }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(LAST_MILLIS);
        self.step(millis);
        self.elapsed.fetch_add(millis, Ordering::SeqCst);
    }

    /// Lets time pass until the wall clock says `now`.
    pub fn advance_to(&self, now: Timestamp) {
        self.advance(now.since(self.now()));
    }

    /// Sets the wall clock so many milliseconds forward, or back: no time passes.
    pub fn step(&self, millis: i64) {
        let now = Timestamp::from_millis(self.now().as_millis().saturating_add(millis));
        self.wall.store(now.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(
            u64::try_from(self.elapsed.load(Ordering::SeqCst)).unwrap_or_default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_rfc_3339() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-11-22T21:00:00.125Z",
            "9999-12-31T23:59:59.999Z",
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn arithmetic_stays_within_what_can_be_written() {
        let far = Timestamp::EPOCH.plus(Duration::MAX);
        assert_eq!(far.to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(far.plus(Duration::from_secs(1)), far);
        assert_eq!(Timestamp::EPOCH.since(far), Duration::ZERO);
    }

    #[test]
    fn s14_a_time_line_follows_what_passes_and_not_the_wall_clock() {
        let monday = Timestamp::from_millis(1_764_000_000_000);
        let hour = 3_600_000;
        for step in [-hour, hour, 10 * 365 * 24 * hour] {
            let clock = ManualClock::at(monday);
            let line = Timeline::starting(Arc::new(clock.clone()), Timestamp::EPOCH);
            clock.step(step);
            clock.advance(Duration::from_secs(5));
            assert_eq!(line.now(), monday.plus(Duration::from_secs(5)));
            assert_eq!(line.wall_clock_ahead(), step);
            let restarted = Timeline::starting(Arc::new(clock.clone()), line.now());
            assert_eq!(restarted.now(), clock.now().max(line.now()), "never back");
        }
    }

    #[test]
    fn the_system_clock_goes_on() {
        let started = SystemClock.elapsed();
        while SystemClock.elapsed() == started {}
        assert!(SystemClock.elapsed() > started);
    }
}
