//! JSON that everybody reads in the same way (RFC 8259, 4 and 8; RFC 7493): what two programs could take for different values
//! is refused when it comes in (S37).

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Refuses a text that is not JSON, has a name twice in an object, a lone surrogate, a number that no double holds, or more
/// than 127 levels.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn check(text: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<Unambiguous>(text).map(drop)
}

/// A value that is looked at as a whole and not kept.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Unambiguous;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unambiguous, A::Error> {
        while items.next_element::<Unambiguous>()?.is_some() {}
        Ok(Unambiguous)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unambiguous, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            // It is not repeated in the message: it may be part of a secret.
            if !names.insert(name) {
                return Err(A::Error::custom("an object has the same name twice"));
            }
            members.next_value::<Unambiguous>()?;
        }
        Ok(Unambiguous)
    }
}

/// What is no JSON, or could be read in two ways: texts for the tests of whoever reads some.
#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn s37_what_has_one_reading_is_json() {
        for text in [
            "null",
            " [1, -0, 1e2, 1.5E-3, true, \"\"]\t\r\n",
            r#"{"a": {"a": 1}, "b": [{"a": 1}, {"a": 1}], "A": 1, "": 0}"#,
            r#""\ud83d\udd11 \u0000 \" \\ é""#,
            "12345678901234567890123",
            "1e308",
            &format!("{}{}", "[".repeat(127), "]".repeat(127)),
        ] {
            assert!(check(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn s37_a_name_is_there_once_at_every_depth() {
        for text in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "b": 2, "a": null}"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"{"": 1, "": 2}"#,
            r#"[{"x": [{"y": {"a": 1, "a": 2}}]}]"#,
            r#"{"é": 1, "\u00e9": 2}"#,
        ] {
            let error = check(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("same name twice"), "{text}: {error}");
        }
    }
}
