//! The places of a listener: so many connections at once, so many of one address, and who gives way when all are taken
//! (S34, S35).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;
use tokio::sync::{Notify, oneshot};

use super::connection::Peer;
use super::proxies::TrustedProxies;

/// An address gets one part in so many of all places: one client alone neither fills a listener nor, with a few of its kind,
/// all of it at once; a household behind one address has more than it needs.
const SHARE: usize = 4;

/// Places of an address, however few there are in all: a browser opens six, and several people may have one address.
const LEAST_SHARE: usize = 16;

/// Who is connected to a listener.
pub(super) struct Places {
    limit: usize,
    /// Whose connections are not counted; `None` where no address has a limit.
    exempt: Option<TrustedProxies>,
    taken: Mutex<Taken>,
    /// A place is free, or somebody could give way.
    news: Notify,
}

#[derive(Default)]
struct Taken {
    connections: Slab<Connection>,
    /// Those without a whole request, by their turn: who has waited longest is first.
    waiting: BTreeMap<u64, usize>,
    turn: u64,
    of_address: HashMap<Network, usize>,
    /// Whether a newcomer wants to know of the next change.
    is_wanted: bool,
    /// Connections that were told to give way and are still there.
    leaving: usize,
}

struct Connection {
    network: Option<Network>,
    turn: Option<u64>,
    /// Tells the connection to give way; `None` once it was told.
    leave: Option<oneshot::Sender<()>>,
}

/// What counts as one client: an IPv4 address, or the 64 bits that a provider gives one customer at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Network {
    V4([u8; 4]),
    V6(u64),
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(octets) => Ipv4Addr::from(*octets).fmt(f),
            Self::V6(prefix) => write!(f, "{}/64", Ipv6Addr::from(u128::from(*prefix) << 64)),
        }
    }
}

impl Network {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// What becomes of a newcomer.
enum Seat {
    Taken(Place, oneshot::Receiver<()>),
    /// The address has its share.
    Refused,
    /// Nothing is free yet.
    None,
}

impl Places {
    /// For clients whom nobody knows: no address takes more than its share, but for the proxies that speak for many.
    pub(super) fn for_clients(limit: usize, proxies: TrustedProxies) -> Self {
        Self::new(limit, Some(proxies))
    }

    /// For the few programs of operators and applications, each of which has many requests that wait.
    pub(super) fn for_programs(limit: usize) -> Self {
        Self::new(limit, None)
    }

    fn new(limit: usize, exempt: Option<TrustedProxies>) -> Self {
        Self {
            limit: limit.max(1),
            exempt,
            taken: Mutex::default(),
            news: Notify::new(),
        }
    }

    /// A place for a newcomer, and the word that it has to give way; `None` if its address has its share. If all are
    /// taken, whoever has waited longest without a whole request gives way; a request under way is never cut short, so it
    /// may take until one ends.
    pub(super) async fn take(
        self: &Arc<Self>,
        peer: Peer,
    ) -> Option<(Place, oneshot::Receiver<()>)> {
        let network = self.counted(peer);
        loop {
            match self.try_take(network) {
                Seat::Taken(place, told) => return Some((place, told)),
                Seat::Refused => return None,
                // Only one newcomer waits at a time: the listener takes them one by one.
                Seat::None => self.news.notified().await,
            }
        }
    }

    /// Sends all away who have no whole request: a stop waits for requests alone.
    pub(super) fn send_away_who_wait(&self) {
        let mut taken = self.lock();
        while !taken.waiting.is_empty() {
            taken.send_away_who_waited_longest();
        }
    }

    /// Under which network a peer counts.
    fn counted(&self, peer: Peer) -> Option<Network> {
        let Peer::Tcp(address) = peer else {
            return None;
        };
        let exempt = self.exempt.as_ref()?;
        let address = address.ip().to_canonical();
        (!exempt.contains(address)).then(|| Network::of(address))
    }

    fn share(&self) -> usize {
        (self.limit / SHARE).max(LEAST_SHARE)
    }

    fn try_take(self: &Arc<Self>, network: Option<Network>) -> Seat {
        let mut taken = self.lock();
        let of_address = network.and_then(|network| taken.of_address.get(&network).copied());
        if of_address.unwrap_or(0) >= self.share() {
            return Seat::Refused;
        }
        taken.is_wanted = taken.connections.len() >= self.limit;
        if taken.is_wanted {
            if taken.leaving == 0 {
                taken.send_away_who_waited_longest();
            }
            return Seat::None;
        }
        if let Some(network) = network {
            *taken.of_address.entry(network).or_insert(0) += 1;
        }
        let (leave, told) = oneshot::channel();
        let key = taken.connections.insert(Connection {
            network,
            turn: None,
            leave: Some(leave),
        });
        taken.wait(key);
        let places = Arc::clone(self);
        Seat::Taken(Place { places, key }, told)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // What is in it is whole after each statement.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn wait(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.turn.is_none() && connection.leave.is_some() {
            self.turn += 1;
            connection.turn = Some(self.turn);
            self.waiting.insert(self.turn, key);
        }
    }

    fn send_away_who_waited_longest(&mut self) {
        let Some((_, key)) = self.waiting.pop_first() else {
            return;
        };
        if let Some(connection) = self.connections.get_mut(key) {
            connection.turn = None;
            if let Some(leave) = connection.leave.take() {
                self.leaving += 1;
                // Whoever has gone meanwhile has no need to be told.
                let _ = leave.send(());
            }
        }
    }
}

/// The place of one connection; free when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    key: usize,
}

impl Place {
    /// A whole request has come: it is not cut short. `false` if the connection was told to give way before.
    #[must_use]
    pub(super) fn begin(&self) -> bool {
        let mut taken = self.places.lock();
        let Some(connection) = taken.connections.get_mut(self.key) else {
            return false;
        };
        if connection.leave.is_none() {
            return false;
        }
        if let Some(turn) = connection.turn.take() {
            taken.waiting.remove(&turn);
        }
        true
    }

    /// The answer has gone: from now on the connection waits for its next request.
    pub(super) fn wait(&self) {
        let mut taken = self.places.lock();
        taken.wait(self.key);
        self.tell(taken);
    }

    fn tell(&self, taken: MutexGuard<'_, Taken>) {
        let is_wanted = taken.is_wanted;
        drop(taken);
        if is_wanted {
            self.places.news.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        let gone = taken.connections.remove(self.key);
        if let Some(turn) = gone.turn {
            taken.waiting.remove(&turn);
        }
        if gone.leave.is_none() {
            taken.leaving -= 1;
        }
        if let Some(network) = gone.network
            && let Some(count) = taken.of_address.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                taken.of_address.remove(&network);
            }
        }
        self.tell(taken);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Newcomer = (Place, oneshot::Receiver<()>);

    fn peer(address: &str) -> Peer {
        Peer::Tcp(format!("{address}:1").parse().unwrap())
    }

    fn places(limit: usize) -> Arc<Places> {
        let proxies = TrustedProxies::new(vec!["192.0.2.0/24".parse().unwrap()]);
        Arc::new(Places::for_clients(limit, proxies))
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Takes a place that is free; `None` if the address is refused.
    fn take(places: &Arc<Places>, address: &str) -> Option<Newcomer> {
        match poll(&mut Box::pin(places.take(peer(address)))) {
            Poll::Ready(seat) => seat,
            Poll::Pending => panic!("{address} waits"),
        }
    }

    #[test]
    fn s34_an_address_has_its_share_and_a_trusted_proxy_all() {
        let places = places(100);
        let mut seats: Vec<Newcomer> = Vec::new();
        for _ in 0..25 {
            seats.push(take(&places, "198.51.100.1").unwrap());
        }
        assert!(take(&places, "198.51.100.1").is_none());
        assert!(take(&places, "[::ffff:198.51.100.1]").is_none());
        seats.push(take(&places, "198.51.100.2").unwrap());
        for host in 0..24 {
            seats.push(take(&places, &format!("[2001:db8::{host}]")).unwrap());
        }
        seats.push(take(&places, "[2001:db8::ffff:1]").unwrap());
        assert!(take(&places, "[2001:db8::ffff:2]").is_none());
        seats.push(take(&places, "[2001:db8:0:1::1]").unwrap());
        for _ in 0..48 {
            seats.push(take(&places, "192.0.2.7").unwrap());
        }
        seats.swap_remove(0);
        assert!(take(&places, "198.51.100.1").is_some());
        drop(seats);
        let taken = places.lock();
        assert!(taken.of_address.is_empty() && taken.waiting.is_empty());
    }

    #[test]
    fn s34_few_places_are_shared_by_no_less_than_sixteen() {
        let places = places(20);
        let seats: Vec<_> = (0..16).map(|_| take(&places, "198.51.100.1")).collect();
        assert!(seats.iter().all(Option::is_some));
        assert!(take(&places, "198.51.100.1").is_none());
    }

    #[test]
    fn a_stop_sends_away_who_has_no_request() {
        let places = places(3);
        let [mut busy, mut idle] =
            [1, 2].map(|host| take(&places, &format!("198.51.100.{host}")).unwrap());
        assert!(busy.0.begin());
        places.send_away_who_wait();
        assert!(busy.1.try_recv().is_err() && idle.1.try_recv().is_ok());
        assert!(!idle.0.begin());
    }

    #[test]
    fn s35_who_has_waited_longest_gives_way() {
        let places = places(3);
        let mut seats: Vec<Newcomer> = (1..=3)
            .map(|host| take(&places, &format!("198.51.100.{host}")).unwrap())
            .collect();
        // The first has a request under way, the second had one and waits anew.
        assert!(seats[0].0.begin());
        assert!(seats[1].0.begin());
        seats[1].0.wait();
        let mut newcomer = Box::pin(places.take(peer("198.51.100.9")));
        assert!(poll(&mut newcomer).is_pending());
        let told: Vec<bool> = seats
            .iter_mut()
            .map(|(_, told)| told.try_recv().is_ok())
            .collect();
        assert_eq!(told, [false, false, true]);
        assert!(!seats[2].0.begin(), "it was told before its request came");
        // Whatever else happens, nobody else is sent away for the same newcomer.
        seats[0].0.wait();
        assert!(poll(&mut newcomer).is_pending());
        assert!(seats[1].1.try_recv().is_err());
        seats.pop();
        assert!(poll(&mut newcomer).is_ready());
    }

    #[test]
    fn s35_a_request_under_way_is_not_cut_short() {
        let places = places(2);
        let mut seats: Vec<Newcomer> = (1..=2)
            .map(|host| take(&places, &format!("198.51.100.{host}")).unwrap())
            .collect();
        assert!(seats.iter().all(|(place, _)| place.begin()));
        let mut newcomer = Box::pin(places.take(peer("198.51.100.9")));
        assert!(poll(&mut newcomer).is_pending());
        assert!(seats.iter_mut().all(|(_, told)| told.try_recv().is_err()));
        seats[1].0.wait();
        assert!(poll(&mut newcomer).is_pending());
        assert!(seats[1].1.try_recv().is_ok() && seats[0].1.try_recv().is_err());
        seats.pop();
        assert!(poll(&mut newcomer).is_ready());
    }
}
