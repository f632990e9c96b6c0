use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use super::*;
use crate::backend::fake::Fake;
use crate::grammar::Address;
use crate::output::Style;

/// A stream that the test reads afterwards.
#[derive(Clone, Default)]
struct Paper(Rc<RefCell<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

/// A stream on a full disk.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream that nobody reads any more.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct FakeStage {
    done: Vec<String>,
}

impl Stage for FakeStage {
    fn fail(&mut self, node: &NodeName) -> Result<Answer, Failure> {
        self.done.push(format!("fail {node}"));
        Ok(Answer::Failed { name: node.clone(), process_id: 7 })
    }
    fn recover(&mut self, node: &NodeName) -> Result<Answer, Failure> {
        self.done.push(format!("recover {node}"));
        Ok(Answer::Recovered { name: node.clone(), process_id: 8, address: Address::loopback(7109) })
    }
}

fn on_paper(style: Style) -> (Printer, Paper, Paper) {
    let (out, errors) = (Paper::default(), Paper::default());
    (Printer::on(style, Box::new(out.clone()), Box::new(errors.clone())), out, errors)
}

/// What a script prints, what it complains of, and how it ends.
fn script(fake: Fake, text: &str, stop_on_error: bool) -> (String, String, u8) {
    let (printer, out, errors) = on_paper(Style::default());
    let mut shell = Shell::new(Box::new(fake), None, printer);
    shell.script(text.as_bytes(), stop_on_error);
    (out.text(), errors.text(), shell.exit_code())
}

#[test]
fn a_script_goes_on_after_an_error_and_ends_with_the_worst_code() {
    let text = "put k v\n# a comment\n\nfrob\ncas k other new\nget k\r\nget 'k\nget k";
    let (out, errors, code) = script(Fake::default(), text, false);
    assert_eq!(out, "done at 12.3\nnot swapped: the value is v\nv\nv\n");
    assert_eq!(errors.lines().count(), 2, "{errors}");
    assert!(errors.lines().all(|line| line.starts_with("error: ")), "{errors}");
    assert_eq!(code, 2);
}

#[test]
fn a_script_stops_at_the_first_error_if_told_so() {
    let (out, _, code) = script(Fake::default(), "cas k a b\nput k v\nget k", true);
    assert_eq!((out.as_str(), code), ("not swapped: the value is (none)\n", 1));
}

#[test]
fn an_unknown_outcome_is_worse_than_all_else() {
    let failure = Failure::unknown("put k: no answer within 5 s; it may have been done");
    let fake = Fake { next: Some(failure), ..Fake::default() };
    let (_, errors, code) = script(fake, "put k v\nfrob\nget nothing", false);
    assert_eq!(code, 3);
    assert!(errors.starts_with("error: line 1: put k: no answer within 5 s"));
}

#[test]
fn a_missing_key_is_not_an_error() {
    assert_eq!(script(Fake::default(), "get k\ndelete k\nscan", false), ("(none)\n".repeat(3), String::new(), 0));
}

#[test]
fn exit_leaves_a_script_where_it_stands() {
    assert_eq!(script(Fake::default(), "exit\nfrob", false), (String::new(), String::new(), 0));
}

#[test]
fn a_line_that_is_not_utf_8_is_an_error_of_its_own() {
    let (printer, out, errors) = on_paper(Style::default());
    let mut shell = Shell::new(Box::new(Fake::default()), None, printer);
    shell.script(&b"put k \xff\nget k"[..], false);
    assert_eq!((out.text().as_str(), shell.exit_code()), ("(none)\n", 2));
    assert!(errors.text().contains("not UTF-8"));
}

#[test]
fn with_json_there_is_one_object_for_every_command() {
    let (printer, out, errors) = on_paper(Style { json: true, ..Style::default() });
    let mut shell = Shell::new(Box::new(Fake::default()), None, printer);
    shell.commands(["put k v", "get k", "frob", "get none"], false);
    let objects: Vec<serde_json::Value> = out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 4);
    assert_eq!(objects[1], serde_json::json!({"value": "v"}));
    assert_eq!(objects[2]["exit"], 2);
    assert!(objects[2]["error"].as_str().unwrap().contains("frob"));
    assert_eq!(objects[3], serde_json::json!({"value": null}));
    assert_eq!(errors.text().lines().count(), 1);
}

#[test]
fn help_is_printed_and_is_not_an_error() {
    let (out, errors, code) = script(Fake::default(), "help put\nput --help\nhelp", false);
    assert!(out.contains("Usage: put") && out.contains("put colour"), "{out}");
    assert_eq!((errors.as_str(), code), ("", 0));
}

#[test]
fn nobody_reading_ends_a_script_quietly() {
    let errors = Paper::default();
    let printer = Printer::on(Style::default(), Box::new(Gone), Box::new(errors.clone()));
    let mut shell = Shell::new(Box::new(Fake::default()), None, printer);
    assert_eq!(shell.line("get k"), Flow::Leave);
    assert_eq!((errors.text().as_str(), shell.exit_code()), ("", 0));
}

#[test]
fn what_cannot_be_written_is_said_and_ends_the_script() {
    let errors = Paper::default();
    let printer = Printer::on(Style::default(), Box::new(Full), Box::new(errors.clone()));
    let mut shell = Shell::new(Box::new(Fake::default()), None, printer);
    shell.script(&b"put k v\nput k w"[..], false);
    assert_eq!(shell.exit_code(), 1);
    let said = errors.text();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("error: cannot write to standard output: "), "{said}");
}

#[test]
fn errors_of_a_script_carry_the_number_of_their_line() {
    let (_, errors, _) = script(Fake::default(), "\n# first\nput k v\nfrob\nput k 'v\n", false);
    let lines: Vec<&str> = errors.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(lines, ["line 4", "line 5"]);
    let (printer, out, errors) = on_paper(Style { json: true, ..Style::default() });
    let mut shell = Shell::new(Box::new(Fake::default()), None, printer);
    shell.line("frob");
    shell.script(&b"\nfrob"[..], false);
    let objects: Vec<serde_json::Value> = out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(objects[0]["line"].is_null(), "a prompt has none");
    assert_eq!(objects[1]["line"], 2);
    assert!(errors.text().ends_with("`help` lists the commands\n"));
}

#[test]
fn the_stage_kills_the_leader_by_its_name_and_a_recovered_node_is_introduced() {
    let (printer, out, errors) = on_paper(Style::default());
    let mut stage = FakeStage::default();
    let mut shell = Shell::new(Box::new(Fake::default()), Some(&mut stage), printer);
    shell.commands(["fail leader", "fail n2", "recover n2"], true);
    assert_eq!(errors.text(), "");
    assert_eq!(shell.exit_code(), 0);
    assert_eq!(
        out.text(),
        "n1 is killed (process 7)\nn2 is killed (process 7)\nn2 is back (process 8, 127.0.0.1:7109)\n"
    );
    drop(shell);
    assert_eq!(stage.done, ["fail n1", "fail n2", "recover n2"]);
}

#[test]
fn without_a_leader_there_is_none_to_fail() {
    let (printer, _, errors) = on_paper(Style::default());
    let mut stage = FakeStage::default();
    let fake = Fake { leaderless: true, ..Fake::default() };
    let mut shell = Shell::new(Box::new(fake), Some(&mut stage), printer);
    assert_eq!(shell.line("fail leader"), Flow::Failed);
    assert_eq!(shell.exit_code(), 1);
    assert!(errors.text().contains("nobody leads"));
}
