use sessionctl::session::{SessionId, SessionIdError};
use sessionctl::token::looks_like_secret;

/// A session's UUID as somebody types it: what is read is what stands there, and it is printed in one form that every
/// spelling reads back.
pub fn uuid(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let id: SessionId = match text.parse() {
        Ok(id) => id,
        Err(error) => {
            // No variant has room for the text, so none can repeat it.
            let is_secret = error == SessionIdError::Secret;
            assert_eq!(is_secret, looks_like_secret(text));
            return;
        }
    };
    let printed = id.to_string();
    let groups: Vec<usize> = printed.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12]);
    let digits = printed.replace('-', "");
    assert!(digits.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
    let typed = text.to_lowercase();
    let typed = typed.strip_prefix("urn:uuid:").unwrap_or(&typed);
    assert_eq!(typed.replace(['-', '{', '}'], ""), digits);
    assert!(digits.contains(|c| c != '0') && digits.contains(|c| c != 'f'));
    for spelling in [
        printed.clone(),
        digits.to_uppercase(),
        format!("urn:uuid:{printed}"),
        format!("{{{}}}", printed.to_uppercase()),
    ] {
        assert_eq!(spelling.parse(), Ok(id));
    }
    let json = serde_json::to_string(&id).unwrap();
    assert_eq!(serde_json::from_str::<SessionId>(&json).unwrap(), id);
}
