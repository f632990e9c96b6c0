//! The prompt: line editing, history, completion. ctrl-C clears the line, ctrl-D leaves.

use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::config::{CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};

use super::complete;
use crate::answer::Failure;
use crate::cookie::user_folder;
use crate::news::AtPrompt;
use crate::shell::{Flow, Shell};

/// Prompts until the user leaves.
pub fn run(shell: &mut Shell<'_>) -> Result<(), Failure> {
    let mut editor = editor().map_err(|error| Failure::not_done(format!("this terminal cannot be used: {error}")))?;
    let history = history_file();
    if let Some(history) = &history
        && let Err(error) = editor.load_history(history)
    {
        log::debug!("no history in {}: {error}", history.display());
    }
    let printer = editor.create_external_printer().ok();
    let _news = printer.and_then(|printer| AtPrompt::begin(printer).ok());
    loop {
        editor.set_helper(Some(Completion { names: shell.node_names(), staged: shell.is_staged() }));
        match editor.readline(PROMPT) {
            Ok(line) => {
                remember(&mut editor, &line);
                if shell.line(&line) == Flow::Leave {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(Failure::not_done(format!("the terminal cannot be read: {error}"))),
        }
    }
    if let Some(history) = history {
        save(&mut editor, &history);
    }
    Ok(())
}

fn editor() -> rustyline::Result<Editor<Completion, FileHistory>> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(MOST_HISTORY)?
        .history_ignore_space(true)
        .build();
    Editor::with_config(config)
}

fn remember(editor: &mut Editor<Completion, FileHistory>, line: &str) {
    if !line.trim().is_empty()
        && let Err(error) = editor.add_history_entry(line)
    {
        log::debug!("a line is not remembered: {error}");
    }
}

fn save(editor: &mut Editor<Completion, FileHistory>, history: &std::path::Path) {
    if let Some(folder) = history.parent()
        && let Err(error) = std::fs::create_dir_all(folder)
    {
        log::info!("the history is not kept: {}: {error}", folder.display());
    }
    if let Err(error) = editor.save_history(history) {
        log::info!("the history is not kept: {}: {error}", history.display());
    }
}

fn history_file() -> Option<PathBuf> {
    user_folder("XDG_STATE_HOME", ".local/state").map(|folder| folder.join("history"))
}

struct Completion {
    names: Vec<String>,
    staged: bool,
}

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Hinter for Completion {
    type Hint = String;
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let (start, mut candidates) = complete::candidates(&line[..pos], &self.names, self.staged);
        // The only one is a whole word, unless an address follows.
        if let [only] = candidates.as_mut_slice()
            && !only.ends_with('@')
        {
            only.push(' ');
        }
        Ok((start, candidates))
    }
}

const PROMPT: &str = "synod> ";
/// Lines.
const MOST_HISTORY: usize = 1000;
