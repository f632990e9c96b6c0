//! The lab's scenarios at reduced bounds, a test for each row. `synod::sim::lab` says what they show.

use synod::sim::lab::{Bounds, scenarios};

/// Plays every scenario of a row.
fn play(row: u32) {
    let of_row: Vec<_> = scenarios().into_iter().filter(|scenario| scenario.row == row).collect();
    assert!(!of_row.is_empty(), "row {row} is in the table");
    for scenario in of_row {
        let began = std::time::Instant::now();
        match scenario.run(Bounds::Reduced) {
            Ok(summary) => println!("row {row}, {}: {summary} ({} ms)", scenario.name, began.elapsed().as_millis()),
            Err(broken) => panic!("{broken}"),
        }
    }
}

macro_rules! rows {
    ($($name:ident = $row:literal),* $(,)?) => {
        const PLAYED: &[u32] = &[$($row),*];
        $(
            #[test]
            fn $name() {
                play($row);
            }
        )*
    };
}

rows! {
    row_01_a_deadline_interrupts_a_client = 1,
    row_02_single_client_simple_operations = 2,
    row_03_progress_with_no_partition = 3,
    row_04_progress_in_majority = 4,
    row_05_no_progress_in_minority = 5,
    row_06_progress_after_heal = 6,
    row_07_one_server_switches_partitions = 7,
    row_08_synchronous_put_and_get_many_clients = 8,
    row_09_concurrent_appends = 9,
    row_10_message_count = 10,
    row_11_old_commands_leave_memory_and_log = 11,
    row_12_single_client_simple_operations_unreliable = 12,
    row_13_two_sequential_clients_unreliable = 13,
    row_14_synchronous_put_and_get_many_clients_unreliable = 14,
    row_15_concurrent_appends_unreliable = 15,
    row_16_single_partition_and_heal = 16,
    row_22_singleton_group = 22,
    row_201_a_deadline_interrupts_a_client_one_server = 201,
    row_202_one_server_simple_operations = 202,
    row_203_one_server_many_clients_own_keys = 203,
    row_204_one_server_many_clients_one_key = 204,
    row_205_one_server_appends_half_of_the_frames_lost = 205,
    row_301_one_server_simple_operations_half_of_the_frames_lost = 301,
    row_302_one_server_single_client_unreliable = 302,
    row_303_one_server_many_clients_own_keys_unreliable = 303,
    row_304_one_server_many_clients_one_key_unreliable = 304,
    row_305_one_server_endless_load_unreliable = 305,
}

#[test]
fn every_scenario_is_played() {
    let mut rows: Vec<u32> = scenarios().iter().map(|scenario| scenario.row).collect();
    rows.dedup();
    assert_eq!(rows, PLAYED);
}
