//! Options that come from a file (`--config`) or from the environment (`SYNOD_…`), for every command of the shell.
//!
//! What is typed wins over the environment, and that over the file. Keys of the file are the long names of the options of
//! the very command that it is given to; each becomes a word of the command line, so that it means exactly what it would
//! mean there.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::answer::Failure;

/// What every variable of ours begins with.
pub const PREFIX: &str = "SYNOD_";

/// Adds `--config`, and the environment to whatever may come from there: every option that is shown in the help, but those
/// that are repeated one by one (`-e`).
pub fn configurable(command: Command) -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_hint(ValueHint::FilePath)
        .value_parser(clap::value_parser!(PathBuf))
        .help("Take options from a TOML file: the same names, as `listen = \"0.0.0.0:7101\"`");
    command.arg(config).mut_args(|arg| match variable_of(&arg) {
        Some(_) if arg.is_hide_set() || !takes_one_text(&arg) => arg,
        Some(variable) if is_empty(&variable) => arg,
        Some(variable) => {
            let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
            let arg = arg.env(variable).hide_env(true);
            if is_flag { arg.value_parser(BoolishValueParser::new()) } else { arg }
        }
        None => arg,
    })
}

/// The variable that stands in for an option: SYNOD_COOKIE_FILE for `--cookie-file`.
fn variable_of(arg: &Arg) -> Option<String> {
    let long = arg.get_long().filter(|long| !matches!(*long, "help" | "version"))?;
    Some(format!("{PREFIX}{}", long.to_uppercase().replace('-', "_")))
}

/// A variable that is there and says nothing counts as none: so one is taken back for a single command.
fn is_empty(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.is_empty())
}

/// The variables that say something about the options of the command that the words begin with.
pub fn heeded(grammar: &Command, words: &[OsString]) -> Vec<String> {
    let command = words.iter().skip(1).find_map(|word| grammar.find_subcommand(word));
    let variables = command.into_iter().flat_map(Command::get_arguments).filter_map(Arg::get_env);
    let told = variables.filter(|variable| std::env::var_os(variable).is_some());
    told.map(|variable| variable.to_string_lossy().into_owned()).collect()
}

/// The option that a variable stands for.
pub fn flag_of(variable: &str) -> String {
    format!("--{}", variable.trim_start_matches("SYNOD_").to_lowercase().replace('_', "-"))
}

/// Whether one text says all of it.
fn takes_one_text(arg: &Arg) -> bool {
    match arg.get_action() {
        ArgAction::Set | ArgAction::SetTrue => true,
        ArgAction::Append => arg.get_value_delimiter().is_some(),
        _ => false,
    }
}

/// The words of the command line, with those added that a file stands for, and which file that was.
///
/// # Errors
/// The file cannot be read, or says what is no option of the command.
pub fn with_file(grammar: &Command, words: Vec<OsString>) -> Result<(Vec<OsString>, Option<PathBuf>), Failure> {
    let asked = |word: &OsString| {
        let word = word.to_string_lossy();
        word == "--config" || word.starts_with("--config=")
    };
    let in_words = words.iter().take_while(|word| *word != "--").any(asked);
    let variable = format!("{PREFIX}CONFIG");
    if !in_words && (std::env::var_os(&variable).is_none() || is_empty(&variable)) {
        return Ok((words, None));
    }
    // Whatever else is wrong with the words is said when all of them are there.
    let Ok(typed) = grammar.clone().ignore_errors(true).try_get_matches_from(&words) else { return Ok((words, None)) };
    let Some((name, typed)) = typed.subcommand() else { return Ok((words, None)) };
    let Ok(Some(path)) = typed.try_get_one::<PathBuf>(CONFIG) else { return Ok((words, None)) };
    let command = grammar.find_subcommand(name).expect("it was parsed by this grammar");
    let text =
        read(path).map_err(|error| Failure::usage(format!("--config: cannot read {}: {error}", path.display())))?;
    let more = words_of(&text, path, command, typed)?;
    let at = words.iter().position(|word| word == OsStr::new(name)).map_or(words.len(), |at| at + 1);
    let mut all = words;
    all.splice(at..at, more);
    Ok((all, Some(path.clone())))
}

/// A file of options is small: whatever is not was meant to be another.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let length = std::fs::File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if length as u64 > MOST_BYTES {
        return Err(std::io::Error::other(format!("it is longer than {MOST_BYTES} bytes")));
    }
    Ok(text)
}

/// The words that the file stands for, without those that were typed or come from the environment.
fn words_of(text: &str, path: &Path, command: &Command, typed: &ArgMatches) -> Result<Vec<OsString>, Failure> {
    let file = path.display();
    let wrong = |at: usize, what: String| Failure::usage(format!("{file}, line {}: {what}", line_of(text, at)));
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        wrong(at, error.message().lines().collect::<Vec<_>>().join(", "))
    })?;
    let mut words = Vec::new();
    // In the order of the file, so that the first of several mistakes is told.
    let mut entries: Vec<(&Spanned<_>, &Spanned<DeValue<'_>>)> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let at = key.span().start;
        let key: &str = key.get_ref().as_ref();
        let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(key) && key != CONFIG) else {
            return Err(wrong(at, unknown(key, command)));
        };
        let given = given(key, arg, value.get_ref()).map_err(|why| wrong(at, why))?;
        let source = typed.value_source(arg.get_id().as_str());
        if !matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            words.extend(given.into_iter().map(OsString::from));
        }
    }
    Ok(words)
}

fn unknown(key: &str, command: &Command) -> String {
    let known = || command.get_arguments().filter_map(Arg::get_long).filter(|long| *long != CONFIG);
    let near = known().find(|long| long.replace('-', "_") == key.replace('-', "_"));
    let near = near.or_else(|| known().find(|long| long.starts_with(key) || key.starts_with(long)));
    let tip = near.map_or_else(
        || format!("`synod {} --help` lists them", command.get_name()),
        |near| format!("is '{near}' meant?"),
    );
    let key = key.escape_debug();
    format!("'{key}' is no option of `synod {}`; {tip}", command.get_name())
}

/// A key and its value as words.
fn given(key: &str, arg: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
    match value {
        DeValue::Boolean(on) if is_flag => Ok(on.then(|| format!("--{key}")).into_iter().collect()),
        _ if is_flag => Err(format!("'{key}' is true or false")),
        DeValue::Array(values) if matches!(arg.get_action(), ArgAction::Append) => {
            let each = values.iter().map(|value| Ok(format!("--{key}={}", text(key, value.get_ref())?)));
            each.collect()
        }
        DeValue::Array(_) => Err(format!("'{key}' is a single value, not a list")),
        value => Ok(vec![format!("--{key}={}", text(key, value)?)]),
    }
}

fn text(key: &str, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Float(number) => Ok(number.to_string()),
        _ => Err(format!("'{key}' is a text or a number")),
    }
}

/// Counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).matches('\n').count() + 1
}

const CONFIG: &str = "config";
const MOST_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::command_line;

    fn words(of: &str, typed: &[&str]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n1.toml");
        std::fs::write(&path, of).unwrap();
        let mut words: Vec<OsString> = ["synod"].iter().chain(typed).map(OsString::from).collect();
        words.extend(["--config".into(), path.clone().into()]);
        let told = |failure: Failure| failure.to_string().replace(&path.display().to_string(), "n1.toml");
        let (all, from) = with_file(&command_line(), words).map_err(told)?;
        assert_eq!(from, Some(path));
        Ok(all[..all.len() - 2].iter().map(|word| word.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn keys_become_options_behind_the_command() {
        let file =
            "# a node\nname = 'n1'\nlisten = \"127.0.0.1:7101\"\nwindow = 8\nvoters = ['n1', 'n2']\nalone = false\n";
        let expected =
            ["synod", "start", "--name=n1", "--listen=127.0.0.1:7101", "--window=8", "--voters=n1", "--voters=n2"];
        assert_eq!(words(file, &["start"]).unwrap(), expected);
        assert_eq!(words("repl = true", &["start"]).unwrap(), ["synod", "start", "--repl"]);
        assert_eq!(words("deadline = 0.5", &["get", "k"]).unwrap(), ["synod", "get", "--deadline=0.5", "k"]);
    }

    #[test]
    fn what_is_typed_wins() {
        let typed = ["start", "--window", "2"];
        assert_eq!(words("name = 'n1'\nwindow = 8", &typed).unwrap(), ["synod", "start", "--name=n1", "--window", "2"]);
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (file, what) in [
            ("name = 'n1'\nlisen = 'x'", "line 2: 'lisen' is no option of `synod start`"),
            ("\n\ncookie_file = 'x'", "line 3: 'cookie_file' is no option of `synod start`; is 'cookie-file' meant?"),
            ("config = 'other.toml'", "line 1: 'config' is no option of `synod start`"),
            ("window = true", "line 1: 'window' is a text or a number"),
            ("window = [1]", "line 1: 'window' is a single value, not a list"),
            ("alone = 'yes'", "line 1: 'alone' is true or false"),
            ("[start]\nname = 'n1'", "line 1: 'start' is no option"),
            ("name = ", "line 1: "),
            ("name = 'a'\nname = 'b'", "line 2: duplicate key"),
        ] {
            let told = words(file, &["start"]).unwrap_err();
            assert!(told.starts_with(&format!("n1.toml, {what}")), "{file:?}: {told}");
        }
        let none: Vec<OsString> = ["synod", "start", "--config", "no/such"].iter().map(OsString::from).collect();
        let told = with_file(&command_line(), none).unwrap_err().to_string();
        assert!(told.starts_with("--config: cannot read no/such: "), "{told}");
    }

    #[test]
    fn every_option_of_a_node_has_a_variable() {
        let command = command_line();
        let start = command.find_subcommand("start").unwrap();
        let shown = start.get_arguments().filter(|arg| arg.get_long().is_some() && !arg.is_hide_set());
        let without: Vec<_> = shown.filter(|arg| arg.get_env().is_none()).filter_map(Arg::get_long).collect();
        assert_eq!(without, [""; 0], "a list of values needs a delimiter");
        let variable = |name: &str| start.get_arguments().find(|arg| arg.get_long() == Some(name)).unwrap().get_env();
        assert_eq!(variable("cookie-file"), Some(OsStr::new("SYNOD_COOKIE_FILE")));
    }
}
