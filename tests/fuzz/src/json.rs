use serde_json::Value;
use sessionctl::context::{Json, Name};

/// What an on-close method answers, or an application keeps as a variable; and what names it: kept as it was written, or
/// refused.
pub fn json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(name) = Name::new(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.is_empty() && !text.chars().any(char::is_control));
    }
    let value = serde_json::from_str::<Value>(text);
    let Ok(kept) = Json::new(text) else {
        // A name that is there twice is lost to who keeps the last one: what that one makes of it is accepted.
        if let Ok(value) = value {
            assert!(Json::new(&value.to_string()).is_ok());
        }
        return;
    };
    assert_eq!(kept.as_str(), text.trim());
    // Into a document and out of it, as into the store, to a method and to an application.
    let document = serde_json::to_string(&[&kept]).unwrap();
    let read: Vec<Json> = serde_json::from_str(&document).unwrap();
    assert_eq!(read, [kept]);
    let [value] = [value.unwrap()];
    assert_eq!(
        serde_json::from_str::<Vec<Value>>(&document).unwrap(),
        [value]
    );
}
