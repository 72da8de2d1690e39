//! JSON Schemas, from the types that are read and written.

use std::borrow::Cow;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Map, Value, json};

use super::super::{LONGEST_WAIT, SCHEMA};
use crate::access::{TOKEN_NAME_LIMIT, TokenName};
use crate::admin::{PAGE_LIMIT, REASON_LIMIT, Reason, USER_LIMIT};
use crate::application::LONGEST_POLL;
use crate::audit::ChainHash;
use crate::clock::Timestamp;
use crate::context::{Json, LONGEST_NAME, Name};
use crate::options::{Form, HIGHEST_RATE, OPTIONS, OptionSpec};
use crate::session::{ProcessNumber, SessionId};

/// Makes the schema of one type.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// The schema of a type, or a reference to it.
pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The schema of a type as it is, never a reference: for a query, whose fields become parameters.
pub(super) fn fields_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// What the schemas of the document lie below.
const COMPONENTS: &str = "/components/schemas";

/// The schemas of a document. What is read and what is written have different ones: a request is refused for a field that
/// is unknown, an answer may gain fields.
pub(super) struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = COMPONENTS.into();
            settings.meta_schema = None;
        });
        Self {
            read: settings.clone().for_deserialize().into_generator(),
            written: settings.for_serialize().into_generator(),
        }
    }

    /// The schema of what a server reads.
    pub(super) fn read(&mut self, shape: Shape) -> Value {
        let mut schema = shape(&mut self.read).to_value();
        mend(&mut schema, false);
        schema
    }

    /// The schema of what a server writes.
    pub(super) fn written(&mut self, shape: Shape) -> Value {
        let mut schema = shape(&mut self.written).to_value();
        mend(&mut schema, true);
        schema
    }

    /// Those that others refer to: of what is read, and of what is written.
    pub(super) fn definitions(mut self) -> [Map<String, Value>; 2] {
        let mut read = self.read.take_definitions(false);
        let mut written = self.written.take_definitions(false);
        read.values_mut().for_each(|schema| mend(schema, false));
        written.values_mut().for_each(|schema| mend(schema, true));
        [read, written]
    }
}

/// Makes of a schema for programmers in Rust one for everybody.
fn mend(schema: &mut Value, is_written: bool) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| mend(item, is_written)),
        Value::Object(object) => {
            object
                .values_mut()
                .for_each(|value| mend(value, is_written));
            mend_object(object, is_written);
        }
        _ => {}
    }
}

fn mend_object(object: &mut Map<String, Value>, is_written: bool) {
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = plain(text);
    }
    if is_written && object.get("additionalProperties") == Some(&Value::Bool(false)) {
        object.remove("additionalProperties");
    }
    let format = object.get("format").and_then(Value::as_str);
    match format {
        Some("uint") => drop(object.insert("format".into(), json!("uint64"))),
        Some("ip") => {
            object.remove("format");
            let formats = json!([{ "format": "ipv4" }, { "format": "ipv6" }]);
            object.insert("anyOf".into(), formats);
        }
        _ => {}
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties")
        && let Some(schema) = properties.get_mut("schema")
    {
        *schema = json!({
            "type": "integer",
            "const": SCHEMA,
            "description": "The version of every document; it changes only when a name changes its meaning.",
        });
    }
    let words = object.get("oneOf").and_then(words);
    if let Some((words, described)) = words {
        object.remove("oneOf");
        object.insert("type".into(), json!("string"));
        object.insert("enum".into(), words);
        let before = object.get("description").and_then(Value::as_str);
        let text = format!("{}\n\n{described}", before.unwrap_or_default());
        object.insert("description".into(), json!(text.trim()));
    }
}

/// The words of an enum, and what each of them says; `None` if it has something else.
fn words(variants: &Value) -> Option<(Value, String)> {
    let (mut words, mut described) = (Vec::new(), String::new());
    for variant in variants.as_array()? {
        let word = variant.get("const")?.as_str()?;
        let text = variant.get("description").and_then(Value::as_str);
        described += &format!("- `{word}`: {}\n", text.unwrap_or_default());
        words.push(json!(word));
    }
    Some((words.into(), described))
}

/// What the documentation of a type says to those who see its JSON: no numbers of the contract, no names of the source.
fn plain(text: &str) -> String {
    let constants = [
        ("PAGE_LIMIT", PAGE_LIMIT.to_string()),
        ("USER_LIMIT", USER_LIMIT.to_string()),
        ("REASON_LIMIT", REASON_LIMIT.to_string()),
        ("LONGEST_WAIT", format!("{}s", LONGEST_WAIT.as_secs())),
        ("LONGEST_POLL", format!("{}s", LONGEST_POLL.as_secs())),
        ("MOBILE_TIMEOUT", "60 minutes".into()),
    ];
    let mut text = text.replace("`None`", "`null`");
    for (name, value) in constants {
        text = text.replace(&format!("[`{name}`]"), &value);
    }
    // Only an empty line begins a paragraph.
    let paragraphs = text.split("\n\n").map(|text| text.replace('\n', " "));
    without_numbers(&paragraphs.collect::<Vec<_>>().join("\n\n"))
}

/// Takes out what stands in parentheses and begins with a number of the contract: `(C05)`, `(C10, S20)`.
fn without_numbers(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once(" (") {
        let mut letters = inside.chars();
        let is_number = matches!(letters.next(), Some('C' | 'S'))
            && letters.next().is_some_and(|c| c.is_ascii_digit());
        kept += before;
        match inside.split_once(')') {
            Some((_, after)) if is_number => rest = after,
            _ => {
                kept += " (";
                rest = inside;
            }
        }
    }
    kept + rest
}

/// The form of a value that has rules of its own.
macro_rules! value {
    ($type:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

value!(SessionId, "SessionId", { "type": "string", "format": "uuid" });
value!(ProcessNumber, "ProcessNumber", { "type": "integer", "minimum": 1, "maximum": u32::MAX });
value!(Timestamp, "Timestamp", { "type": "string", "format": "date-time" });
value!(Name, "Name", {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST_NAME,
    "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
    "not": { "enum": [".", ".."] },
});
value!(TokenName, "TokenName", { "type": "string", "minLength": 1, "maxLength": TOKEN_NAME_LIMIT, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$" });
value!(Reason, "Reason", { "type": "string", "maxLength": REASON_LIMIT });
value!(ChainHash, "ChainHash", { "type": "string", "pattern": "^[0-9a-f]{64}$" });
value!(Json, "Json", {});

/// The body of a change of options: a property for each option.
pub(super) fn options(_: &mut SchemaGenerator) -> Schema {
    let property = |spec: &OptionSpec| (spec.name.to_owned(), option(spec));
    let properties: Map<String, Value> = OPTIONS.iter().map(property).collect();
    json_schema!({
        "type": "object",
        "description": "Options with their new values; null resets one to what its file, its flag or its default says.",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// The values of an option in JSON, and null.
fn option(spec: &OptionSpec) -> Value {
    let number = |least: u64, most: u64, zero_restores: bool| {
        let range = json!({ "type": "integer", "minimum": least, "maximum": most });
        if zero_restores && least > 0 {
            json!([{ "const": 0 }, range])
        } else {
            json!([range])
        }
    };
    let millis =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let values = match spec.form {
        Form::Count {
            least,
            most,
            zero_restores,
            ..
        } => number(least, most, zero_restores),
        Form::Duration {
            least,
            most,
            zero_restores,
        } => number(millis(least), millis(most), zero_restores),
        Form::Rate => json!([
            { "type": "integer", "minimum": 1, "maximum": HIGHEST_RATE },
            { "const": "off" },
        ]),
        Form::Switch => json!([{ "type": "boolean" }]),
        Form::Word(words) => json!([{ "type": "string", "enum": words }]),
        Form::CookieName | Form::CookieDomain | Form::CookiePath => json!([{ "type": "string" }]),
    };
    let mut values = values;
    if let Value::Array(values) = &mut values {
        values.push(json!({ "type": "null" }));
    }
    let unit = match spec.form {
        Form::Duration { .. } => " In milliseconds.",
        _ => "",
    };
    json!({
        "description": format!("{}: {}.{unit}", spec.summary, spec.form.range()),
        "anyOf": values,
        "default": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_for_those_who_see_the_json() {
        for (text, told) in [
            ("Ends (C03).", "Ends."),
            (
                "Ends (C03, S20); `None` (RFC 9457) in it.",
                "Ends; `null` (RFC 9457) in it.",
            ),
            (
                "At most [`USER_LIMIT`] characters (Cut).",
                "At most 256 characters (Cut).",
            ),
            ("Half (C", "Half (C"),
            ("One\nline.\n\nAnother.", "One line.\n\nAnother."),
        ] {
            assert_eq!(plain(text), told);
        }
    }
}
