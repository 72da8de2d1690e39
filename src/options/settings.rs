//! Who set which option: the file, a flag, or somebody at run time. What was set later wins, until it is reset (C14).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OPTIONS, OptionError, OptionSpec, Options, Origin, Value};
use crate::session::Mode;

/// The values that one origin sets, by the names of the options.
pub type Layer = BTreeMap<&'static str, Value>;

/// All layers, and the options in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    file: Layer,
    flags: Layer,
    run_time: Layer,
    in_force: Options,
}

/// An option as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OptionState {
    /// Its name.
    pub name: String,
    /// Its value; durations in milliseconds.
    pub value: Value,
    /// Where the value comes from.
    pub origin: Origin,
    /// The value that a reset would bring.
    pub beneath: Value,
    /// Where that would come from.
    pub beneath_origin: Origin,
    /// The value if nobody sets one.
    pub default: Value,
}

impl Settings {
    /// What a server is started with.
    ///
    /// # Errors
    /// When the values cannot be in force together.
    pub fn new(file: Layer, flags: Layer) -> Result<Self, OptionError> {
        Self {
            file,
            flags,
            ..Self::default()
        }
        .in_force()
    }

    /// The same with what was set at run time.
    ///
    /// # Errors
    /// When the values cannot be in force together.
    pub fn with_run_time(self, run_time: Layer) -> Result<Self, OptionError> {
        Self { run_time, ..self }.in_force()
    }

    /// The values in force.
    pub fn options(&self) -> &Options {
        &self.in_force
    }

    /// What one origin sets.
    pub fn layer(&self, origin: Origin) -> Layer {
        match origin {
            Origin::Default => Layer::new(),
            Origin::File => self.file.clone(),
            Origin::Flag => self.flags.clone(),
            Origin::RunTime => self.run_time.clone(),
        }
    }

    /// The settings after changes at run time; `None` resets an option.
    ///
    /// # Errors
    /// The first value that is refused; nothing is changed then.
    pub fn changed(
        &self,
        changes: &[(&'static OptionSpec, Option<Value>)],
    ) -> Result<Self, OptionError> {
        let mut settings = self.clone();
        for (spec, value) in changes {
            let name = kept_as(spec.name);
            let value = match value {
                // A restored default is set like any other value: it wins over the file.
                Some(value) => Some(spec.check(value.clone())?.unwrap_or_else(|| spec.default())),
                None => None,
            };
            match value {
                Some(value) => drop(
                    settings
                        .run_time
                        .insert(name, settings.kept_value(spec, value)),
                ),
                None => drop(settings.run_time.remove(name)),
            }
            settings = settings.in_force()?;
        }
        Ok(settings)
    }

    /// `keep_session` is kept as a mode: off is none, on is the mode that there was, or the default one.
    fn kept_value(&self, spec: &OptionSpec, value: Value) -> Value {
        if spec.name != "keep_session" {
            return value;
        }
        let mode = match (value, self.in_force.mode) {
            (Value::Switch(false), _) => Mode::None,
            (_, Mode::None) => Mode::Legacy,
            (_, mode) => mode,
        };
        Value::word(mode.as_str())
    }

    /// An option as it stands.
    pub fn state(&self, spec: &OptionSpec) -> OptionState {
        let name = kept_as(spec.name);
        let beneath = Self {
            run_time: without(&self.run_time, name),
            ..self.clone()
        };
        let beneath = beneath.in_force().unwrap_or_default();
        OptionState {
            name: spec.name.into(),
            value: spec.value(&self.in_force),
            origin: self.origin(name),
            beneath: spec.value(&beneath.in_force),
            beneath_origin: beneath.origin(name),
            default: spec.default(),
        }
    }

    /// Every option as it stands.
    pub fn states(&self) -> Vec<OptionState> {
        OPTIONS.iter().map(|spec| self.state(spec)).collect()
    }

    fn origin(&self, name: &str) -> Origin {
        let layers = [
            (&self.run_time, Origin::RunTime),
            (&self.flags, Origin::Flag),
            (&self.file, Origin::File),
        ];
        let found = layers.iter().find(|(layer, _)| layer.contains_key(name));
        found.map_or(Origin::Default, |(_, origin)| *origin)
    }

    fn in_force(mut self) -> Result<Self, OptionError> {
        let mut options = Options::default();
        for layer in [&self.file, &self.flags, &self.run_time] {
            for (name, value) in layer {
                if let Some(spec) = OptionSpec::named(name) {
                    (spec.set)(&mut options, value);
                }
            }
        }
        options.check_together()?;
        self.in_force = options;
        Ok(self)
    }
}

/// Settings that a program makes of options, as if each had been a flag.
impl From<Options> for Settings {
    fn from(options: Options) -> Self {
        let flags = OPTIONS
            .iter()
            .filter(|spec| {
                spec.name == kept_as(spec.name) && spec.value(&options) != spec.default()
            })
            .map(|spec| (spec.name, spec.value(&options)));
        Self {
            flags: flags.collect(),
            in_force: options,
            ..Self::default()
        }
    }
}

fn without(layer: &Layer, name: &str) -> Layer {
    let mut layer = layer.clone();
    layer.remove(name);
    layer
}

/// The option under whose name a value is kept.
fn kept_as(name: &'static str) -> &'static str {
    if name == "keep_session" { "mode" } else { name }
}

/// Adds a value to a layer of the file or of the flags, as it is typed.
///
/// # Errors
/// When the text is no value of the option, or says another mode than the layer has.
pub fn add(layer: &mut Layer, spec: &'static OptionSpec, text: &str) -> Result<(), OptionError> {
    let value = spec.parse(text)?.unwrap_or_else(|| spec.default());
    let Value::Switch(keeps) = value else {
        return insert(layer, spec.name, value, text);
    };
    if spec.name != "keep_session" {
        return insert(layer, spec.name, value, text);
    }
    let none = Value::word(Mode::None.as_str());
    match (keeps, layer.get("mode")) {
        (false, None) => insert(layer, "mode", none, text),
        (true, None) => Ok(()),
        (keeps, Some(mode)) if keeps == (*mode != none) => Ok(()),
        _ => Err(OptionError::new(
            "keep_session",
            text,
            "mode says otherwise; leave one of them out",
        )),
    }
}

fn insert(
    layer: &mut Layer,
    name: &'static str,
    value: Value,
    text: &str,
) -> Result<(), OptionError> {
    if layer.get(name).is_some_and(|there| *there != value) {
        return Err(OptionError::new(
            name,
            text,
            "it was given another value before",
        ));
    }
    layer.insert(name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str) -> &'static OptionSpec {
        OptionSpec::named(name).expect("an option")
    }

    fn layer(values: &[(&str, &str)]) -> Layer {
        let mut layer = Layer::new();
        for (name, text) in values {
            add(&mut layer, spec(name), text).unwrap();
        }
        layer
    }

    fn set(settings: &Settings, name: &str, text: &str) -> Result<Settings, OptionError> {
        let value = spec(name)
            .parse(text)?
            .unwrap_or_else(|| spec(name).default());
        settings.changed(&[(spec(name), Some(value))])
    }

    /// C14: run time wins over a flag, a flag over the file, the file over the default; a reset takes one step back.
    #[test]
    fn c14_who_wins() {
        let file = layer(&[("max_sessions", "200"), ("cookie_name", "FILE")]);
        let settings = Settings::new(file, layer(&[("max_sessions", "300")])).unwrap();
        let state = settings.state(spec("max_sessions"));
        assert_eq!(
            (state.value, state.origin),
            (Value::Number(300), Origin::Flag)
        );
        let settings = set(&settings, "max_sessions", "400").unwrap();
        let state = settings.state(spec("max_sessions"));
        assert_eq!(
            (state.value, state.origin),
            (Value::Number(400), Origin::RunTime)
        );
        assert_eq!(
            (state.beneath, state.beneath_origin),
            (Value::Number(300), Origin::Flag)
        );
        let settings = set(&settings, "max_sessions", "0").unwrap();
        let state = settings.state(spec("max_sessions"));
        assert_eq!(
            (state.value, state.origin),
            (Value::Number(100), Origin::RunTime),
            "0 is 4D's way to say 100"
        );
        let settings = settings.changed(&[(spec("max_sessions"), None)]).unwrap();
        assert_eq!(settings.options().max_sessions, 300);
        assert_eq!(settings.state(spec("cookie_name")).origin, Origin::File);
        assert_eq!(settings.state(spec("mode")).origin, Origin::Default);
    }

    #[test]
    fn keep_session_is_another_name_for_a_mode() {
        let scalable = Settings::new(layer(&[("mode", "scalable")]), Layer::new()).unwrap();
        assert_eq!(
            set(&scalable, "keep_session", "on").unwrap().options().mode,
            Mode::Scalable
        );
        let none = set(&scalable, "keep_session", "0").unwrap();
        assert_eq!(none.options().mode, Mode::None);
        assert_eq!(none.state(spec("keep_session")).value, Value::Switch(false));
        assert_eq!(none.state(spec("keep_session")).origin, Origin::RunTime);
        assert_eq!(
            set(&none, "keep_session", "1").unwrap().options().mode,
            Mode::Legacy
        );
        let reset = none.changed(&[(spec("keep_session"), None)]).unwrap();
        assert_eq!(reset.options().mode, Mode::Scalable);
        let mut both = layer(&[("mode", "legacy"), ("keep_session", "on")]);
        assert!(add(&mut both, spec("keep_session"), "off").is_err());
        assert_eq!(
            layer(&[("keep_session", "off")])["mode"],
            Value::word("none")
        );
    }

    #[test]
    fn what_cannot_be_in_force_together_is_refused_whole() {
        let settings = Settings::default();
        let insecure = set(&settings, "cookie_secure", "off").unwrap();
        assert!(set(&insecure, "cookie_same_site", "none").is_err());
        let everywhere = set(&settings, "cookie_same_site", "none").unwrap();
        assert!(set(&everywhere, "cookie_secure", "off").is_err());
    }

    /// Every value is read back as it is shown.
    #[test]
    fn every_option_takes_what_is_in_range() {
        let good: [(&str, &[&str]); 23] = [
            ("mode", &["legacy", "scalable", "none"]),
            ("keep_session", &["on", "off"]),
            ("max_sessions", &["1", "1000000"]),
            ("inactive_process_timeout", &["1s", "400d", "90m"]),
            ("inactive_session_timeout", &["1s", "400d", "1500ms"]),
            ("absolute_session_timeout", &["1s", "400d"]),
            ("cookie_name", &["4DSID_App", "x"]),
            ("cookie_domain", &["", "example.com", "a-b.example"]),
            ("cookie_path", &["/", "/app/x%20y"]),
            ("cookie_same_site", &["lax", "strict", "none"]),
            ("cookie_secure", &["on", "off"]),
            ("session_ip_address_validation", &["on", "off"]),
            ("address_prefix_v6", &["1", "128"]),
            ("eviction_min_idle", &["0s", "400d"]),
            ("eviction_order", &["safe", "oldest"]),
            ("open_rate", &["1", "1000000", "off"]),
            ("context_limit", &["0", "1048576"]),
            ("context_name_limit", &["1", "1024"]),
            ("closing_grace_period", &["0s", "10m"]),
            ("closing_time_limit", &["1s", "1h"]),
            ("on_close_time_limit", &["100ms", "10m"]),
            ("on_close_slots", &["1", "64"]),
            ("history_retention", &["1h", "400d"]),
        ];
        assert!(
            good.iter()
                .map(|(name, _)| *name)
                .eq(OPTIONS.iter().map(|spec| spec.name))
        );
        for (name, texts) in good {
            for text in texts {
                let settings =
                    set(&Settings::default(), name, text).unwrap_or_else(|error| panic!("{error}"));
                let value = settings.state(spec(name)).value;
                assert_eq!(spec(name).show(&value), *text, "{name}");
                assert_eq!(spec(name).check(value.clone()), Ok(Some(value)), "{name}");
            }
            let default = spec(name).default();
            assert_eq!(
                spec(name)
                    .parse(&spec(name).show(&default))
                    .unwrap()
                    .unwrap_or(default.clone()),
                default
            );
        }
    }

    #[test]
    fn s20_values_out_of_range_are_refused() {
        let bad = [
            ("mode", "multi"),
            ("keep_session", "maybe"),
            ("max_sessions", "-1"),
            ("max_sessions", "1000001"),
            ("max_sessions", "18446744073709551616"),
            ("inactive_process_timeout", "999ms"),
            ("inactive_session_timeout", "401d"),
            ("inactive_session_timeout", "480"),
            ("absolute_session_timeout", "0"),
            ("absolute_session_timeout", "500d"),
            ("absolute_session_timeout", "18446744073709551615s"),
            ("cookie_name", "a b"),
            ("cookie_name", "a=b"),
            ("cookie_name", "__Host-x"),
            ("cookie_domain", "a b"),
            ("cookie_domain", "a;b"),
            ("cookie_domain", ".example"),
            ("cookie_path", "app"),
            ("cookie_path", "/a;b"),
            ("cookie_path", ""),
            ("cookie_same_site", "Lax!"),
            ("address_prefix_v6", "0"),
            ("address_prefix_v6", "129"),
            ("eviction_min_idle", "x"),
            ("eviction_order", "newest"),
            ("open_rate", "0"),
            ("open_rate", "on"),
        ];
        for (name, text) in bad {
            assert!(spec(name).parse(text).is_err(), "{name} {text}");
        }
        for (name, value) in [
            ("max_sessions", Value::Switch(true)),
            ("max_sessions", Value::word("5")),
            ("cookie_secure", Value::Number(1)),
            ("inactive_session_timeout", Value::word("8h")),
            ("inactive_session_timeout", Value::Number(u64::MAX)),
        ] {
            assert!(spec(name).check(value).is_err(), "{name}");
        }
    }
}
