use sessionctl::cookie::{CookiePolicy, Presented};
use sessionctl::options::Options;

/// The `Cookie` headers of a request, a line each: at most one token, and one that stands there under the cookie's own name.
pub fn cookie(bytes: &[u8]) {
    let policy = CookiePolicy::of(&Options::default());
    let headers: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let read = |headers: &[&[u8]]| policy.read(headers.iter().copied());
    let found = read(&headers);
    if let Presented::Token(token) = &found {
        let text = token.expose();
        let is_sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(text.len() == 43 && text.chars().all(is_sound));
        let own = |pair: &[u8]| {
            let pair = String::from_utf8_lossy(pair);
            let (name, value) = pair.split_once('=').unwrap_or_default();
            name.trim_ascii() == policy.name() && value.trim_ascii() == text
        };
        let pairs = headers
            .iter()
            .flat_map(|header| header.split(|byte| *byte == b';'));
        assert_eq!(pairs.filter(|pair| own(pair)).count(), 1);
    }
    // The order of the headers makes no difference, and one more of that name always counts.
    let reversed: Vec<&[u8]> = headers.iter().rev().copied().collect();
    assert!(is_same(&found, &read(&reversed)));
    let another = format!("{}=x", policy.name());
    for with_another in [
        [&headers[..], &[another.as_bytes()]].concat(),
        [&[another.as_bytes()], &headers[..]].concat(),
    ] {
        let expected = match found {
            Presented::Nothing => Presented::Malformed,
            _ => Presented::Ambiguous,
        };
        assert!(is_same(&expected, &read(&with_another)));
    }
}

fn is_same(one: &Presented, other: &Presented) -> bool {
    match (one, other) {
        (Presented::Token(one), Presented::Token(other)) => one.expose() == other.expose(),
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}
