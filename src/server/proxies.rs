//! Whose address a request came from, behind proxies that are trusted to say so (C13, S24).

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

use super::connection::Peer;

/// Where proxies write whom they speak for; each adds the address that it was called from at the end.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Networks whose proxies are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Proxies in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    pub(super) fn client(&self, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
        match peer {
            Peer::Tcp(peer) => Some(self.client_behind(peer.ip(), headers)),
            _ => None,
        }
    }

    /// The client's address, of a request with these headers that came from `peer`: the last one in the chain of
    /// `X-Forwarded-For` that is no trusted proxy's. What stands before it, the client may have written itself.
    pub fn client_behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let said = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut chain = said.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        while self.contains(client) {
            // A word that is no address tells nothing, and nothing before it is believed.
            match chain.next().and_then(address) {
                Some(address) => client = address,
                None => break,
            }
        }
        client
    }
}

/// An address as proxies write it: bare, or with a port.
fn address(word: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(word).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse::<IpAddr>()
        .ok()
        .or_else(with_port)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn c13_the_client_is_the_last_that_is_no_trusted_proxy() {
        let proxies = TrustedProxies::new(vec![
            "127.0.0.0/8".parse().unwrap(),
            "2001:db8:1::/48".parse().unwrap(),
        ]);
        let cases: [(&str, &[&str], &str); 12] = [
            ("192.0.2.9:1", &[], "192.0.2.9"),
            ("192.0.2.9:1", &["198.51.100.1"], "192.0.2.9"),
            ("127.0.0.1:1", &[], "127.0.0.1"),
            ("127.0.0.1:1", &["198.51.100.1"], "198.51.100.1"),
            (
                "[::ffff:127.0.0.1]:1",
                &["::ffff:198.51.100.1"],
                "198.51.100.1",
            ),
            (
                "127.0.0.1:1",
                &["203.0.113.5, 198.51.100.1"],
                "198.51.100.1",
            ),
            (
                "127.0.0.1:1",
                &["203.0.113.5", "198.51.100.1 , 127.0.0.2"],
                "198.51.100.1",
            ),
            ("127.0.0.1:1", &["127.0.0.3"], "127.0.0.3"),
            ("127.0.0.1:1", &["198.51.100.1, unknown"], "127.0.0.1"),
            ("127.0.0.1:1", &["198.51.100.1:5050"], "198.51.100.1"),
            (
                "[2001:db8:1::5]:1",
                &["[2001:db8:2::7]:443"],
                "2001:db8:2::7",
            ),
            ("[2001:db8:1::5]:1", &["[2001:db8:2::7]"], "2001:db8:2::7"),
        ];
        for (peer, said, expected) in cases {
            let mut headers = HeaderMap::new();
            for said in said {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(said));
            }
            let client = proxies.client(Peer::Tcp(peer.parse().unwrap()), &headers);
            assert_eq!(client, Some(expected.parse().unwrap()), "{peer} {said:?}");
        }
    }
}
