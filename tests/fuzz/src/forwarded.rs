use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue};
use sessionctl::server::TrustedProxies;

/// `X-Forwarded-For`, a line for each header: the client is who came, or an address that stands there and that no proxy of
/// ours has; and what a client writes in front of what a proxy adds makes no difference.
pub fn forwarded(bytes: &[u8]) {
    let ours: [ipnet::IpNet; 2] = ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().unwrap());
    let proxies = TrustedProxies::new(ours.to_vec());
    let is_ours = |address: &IpAddr| ours.iter().any(|net| net.contains(address));
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(100) {
        // What is no value at all, HTTP refuses before.
        let Ok(value) = HeaderValue::from_bytes(line) else {
            return;
        };
        headers.append("x-forwarded-for", value);
    }
    let stranger: IpAddr = "192.0.2.9".parse().unwrap();
    assert_eq!(proxies.client_behind(stranger, &headers), stranger);
    let proxy: IpAddr = "10.1.2.3".parse().unwrap();
    let client = proxies.client_behind(proxy, &headers);
    assert_eq!(client, client.to_canonical());
    if client != proxy {
        assert!(words(&headers).any(|word| address(&word) == Some(client)));
    }
    // Nobody who is ours, unless all that follows is ours as well.
    if is_ours(&client) && client != proxy {
        let last = words(&headers).last().and_then(|word| address(&word));
        assert!(last.is_some_and(|last| is_ours(&last)));
    }
    headers.append(
        "x-forwarded-for",
        HeaderValue::from_static("198.51.100.1, 10.9.9.9"),
    );
    let named: IpAddr = "198.51.100.1".parse().unwrap();
    assert_eq!(proxies.client_behind(proxy, &headers), named);
}

fn words(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all("x-forwarded-for").iter();
    let words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    words.map(|word| String::from_utf8_lossy(word).trim().to_owned())
}

fn address(word: &str) -> Option<IpAddr> {
    let with_port = || {
        word.parse::<std::net::SocketAddr>()
            .ok()
            .map(|found| found.ip())
    };
    let bare = word.trim_start_matches('[').trim_end_matches(']');
    let found = bare.parse().ok().or_else(with_port)?;
    Some(IpAddr::to_canonical(&found))
}
