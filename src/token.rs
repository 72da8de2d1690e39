//! Secrets: the session cookie's value and the admin API's bearer token. Minted, hashed and redacted here; only the
//! SHA-256 ever leaves for a store (S02, S03).

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

/// Characters of a token as text: 32 bytes in base64url without padding.
const TEXT_LENGTH: usize = 43;

/// 256 bits from the operating system, in base64url. Whoever presents it is let in.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Mints a fresh token.
    ///
    /// # Errors
    /// When the operating system has no random bytes to give.
    pub fn mint() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Takes a presented text for a token if it has the exact form of one; hostile input ends here (S05).
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != TEXT_LENGTH {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == 32).then(|| Self(text.to_owned()))
    }

    /// The secret itself, for a cookie or a token file and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What may be kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// The SHA-256 of a token: enough to recognise it, useless to present.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The 32 bytes, for a store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A hash that a store kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Compares without telling by time where the two differ (S04).
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(***)")
    }
}

/// Tells whether a text holds something of the form of a token, so that it must not be repeated to anyone.
pub fn looks_like_secret(text: &str) -> bool {
    let is_base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.split(|c| !is_base64url(c)).any(|run| {
        run.len() >= TEXT_LENGTH && !run.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
    })
}

/// A text without what has the form of a token in it, for whoever is told of it.
pub fn masked(text: &str) -> Cow<'_, str> {
    if !looks_like_secret(text) {
        return Cow::Borrowed(text);
    }
    let is_base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut shown = String::new();
    for part in text.split_inclusive(|c| !is_base64url(c)) {
        let run = part.trim_end_matches(|c| !is_base64url(c));
        if looks_like_secret(run) {
            shown.push_str("***");
            shown.push_str(&part[run.len()..]);
        } else {
            shown.push_str(part);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_distinct_and_never_shown() {
        let (one, other) = (Token::mint().unwrap(), Token::mint().unwrap());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(
            format!("{one:?} {:?}", one.hash()),
            "Token(***) TokenHash(***)"
        );
        assert!(looks_like_secret(&format!(
            "4DSID={}; Path=/",
            one.expose()
        )));
    }

    #[test]
    fn only_the_exact_form_is_a_token() {
        let token = Token::mint().unwrap();
        let text = token.expose();
        assert!(Token::parse(text).unwrap().hash().matches(&token.hash()));
        for hostile in [
            "",
            "../../etc/passwd",
            &text[1..],
            &format!("{text}A"),
            &format!("{}é", &text[2..]),
            &format!("{}=", &text[1..]),
        ] {
            assert!(Token::parse(hostile).is_none(), "{hostile:?}");
        }
    }

    /// Two spellings of one secret would be two hashes: the spare bits of the last character must be zero.
    #[test]
    fn a_token_has_one_spelling() {
        let zero = "A".repeat(43);
        assert!(Token::parse(&zero).is_some());
        assert!(Token::parse(&format!("{}B", &zero[1..])).is_none());
    }

    #[test]
    fn s42_a_secret_in_a_text_is_masked() {
        let token = Token::mint().unwrap();
        let secret = token.expose();
        let text = format!("cannot read /home/ana/{secret}: no such file ({secret})");
        let shown = "cannot read /home/ana/***: no such file (***)";
        assert_eq!(masked(&text), shown);
        assert_eq!(masked(secret), "***");
        assert!(matches!(masked(shown), Cow::Borrowed(_)));
    }

    #[test]
    fn a_uuid_does_not_look_like_a_secret() {
        assert!(!looks_like_secret(
            "urn:uuid:5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11"
        ));
    }
}
