//! The model checker's searches at reduced bounds: every one of them holds, and says how far it went.

use synod::sim::explore::lab::{Bounds, searches};

fn hold(row: &str) {
    let of_row: Vec<_> = searches().into_iter().filter(|search| search.row == row).collect();
    assert!(!of_row.is_empty(), "no search of row {row}");
    for search in of_row {
        match search.run(Bounds::Reduced) {
            Ok(report) => println!("{}: {report:?}", search.name),
            Err(violation) => panic!("{}\n{violation}", search.name),
        }
    }
}

#[test]
fn row_17_a_single_client_is_answered() {
    hold("17");
}

#[test]
fn row_18_a_minority_decides_nothing() {
    hold("18");
}

#[test]
fn row_19_sequential_appends_are_visible_through_other_majorities() {
    hold("19");
}

#[test]
fn row_20_logs_with_holes_stay_consistent() {
    hold("20");
}

#[test]
fn row_21_random_deep_search() {
    hold("21");
}

#[test]
fn row_22_a_singleton_answers_three_commands_in_six_steps() {
    hold("22");
}

#[test]
fn sessions_execute_exactly_once_in_every_order() {
    hold("sessions");
}

#[test]
fn small_instances_hold_in_every_state_that_is_visited() {
    hold("small");
}
