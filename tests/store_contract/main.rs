//! What every store must do. Each function of the suite is given an empty store; another
//! implementation is one more line in [`suite`].

#[path = "../generate/mod.rs"]
mod generate;

/// The storage of the simulation, held to the same suite: what is found with it is true of real ones.
#[path = "../simulation/clock.rs"]
#[expect(dead_code, reason = "only the simulation moves its clock")]
mod clock;
#[path = "../simulation/disk.rs"]
#[expect(dead_code, reason = "only the simulation counts its tombstones")]
mod disk;
#[path = "../simulation/disk_log.rs"]
mod disk_log;
#[path = "../simulation/store/mod.rs"]
#[expect(dead_code, reason = "only the simulation makes it fail")]
mod store;

#[path = "../postgres_support/mod.rs"]
#[expect(dead_code, reason = "its server is shared, and never stopped")]
mod postgres_support;

mod catalogue;
mod children;
mod commits;
mod copies;
mod deliveries;
mod history;
mod lists;
mod log;
mod measure;
mod postgres;
mod sqlite;
mod support;
mod tombstones;

use support::{open_model, open_postgres, open_sqlite};

/// Makes a test of every function of the suite for every store.
macro_rules! suite {
    ($($store:ident: $open:expr => [$($module:ident :: $test:ident),* $(,)?];)*) => {
        $(mod $store {
            $(#[tokio::test]
            async fn $test() {
                let opened = $open.await;
                crate::$module::$test(&*opened.store).await;
                opened.store.close().await;
            })*
        })*
    };
}

macro_rules! stores {
    ($($store:ident: $open:expr;)*) => {
        suite! { $($store: $open => [
            commits::a_new_operation_is_found_by_id_and_by_key,
            commits::a_known_id_or_key_is_a_conflict_and_nothing_is_written,
            commits::a_write_replaces_only_the_revision_that_it_expects,
            commits::a_batch_is_written_whole_or_not_at_all,
            commits::payloads_small_and_large_come_back,
            commits::a_removal_leaves_nothing_and_frees_the_key,
            tombstones::a_removal_may_leave_a_tombstone,
            tombstones::tombstones_go_when_their_time_has_come,
            tombstones::no_more_are_kept_than_are_to_be,
            commits::objects_are_known_while_their_operation_is_there,
            commits::wake_times_come_earliest_first,
            commits::what_is_unfinished_is_told_in_pages,
            commits::a_claim_changes_nothing,
            commits::a_closed_store_refuses_and_closing_twice_is_fine,
            history::transitions_and_lines_come_in_order_and_in_pages,
            history::lines_may_stand_behind_a_transition_that_their_batch_goes_beyond,
            history::lines_are_trimmed_and_the_book_goes_on,
            history::lines_are_refused_under_another_revision,
            copies::all_operations_are_counted_and_told_in_pages,
            copies::tombstones_are_brought_and_told_in_their_order,
            copies::a_whole_life_is_written_at_once,
            log::commits_are_named_in_their_order,
            log::the_log_tells_each_change_once_in_pages,
            log::a_reader_goes_on_behind_any_entry,
            log::a_list_shows_what_its_frontier_says,
            log::what_is_trimmed_is_gone_and_not_passed_over,
            log::a_removal_says_whether_it_is_the_only_word_of_the_end,
            log::a_removed_operation_frees_its_key_in_the_same_batch,
            log::a_batch_with_nothing_to_change_is_not_in_the_log,
            log::pages_are_bounded_in_bytes,
            catalogue::entries_are_written_and_deleted_by_space_and_name,
            catalogue::a_space_of_another_version_is_left_as_it_is,
            deliveries::deliveries_are_stored_once_and_told_when_they_are_due,
            deliveries::what_became_of_deliveries_is_listed_and_forgotten,
            deliveries::deliveries_are_listed_by_webhook_and_operation_and_read_whole,
            children::children_are_counted_by_state,
            children::removed_children_count_until_their_batch_is_removed,
            children::a_child_is_taken_only_at_the_revision_of_its_batch,
            children::children_are_listed_in_every_order,
            lists::pages_are_in_order_and_complete_in_every_order,
            lists::pages_hold_still_while_operations_come_and_go,
            lists::a_list_is_of_one_tenant,
            lists::a_list_may_be_of_all_tenants,
            lists::batches_that_are_done_are_listed_for_all_tenants_by_end_time,
            lists::lists_agree_with_the_filter_whatever_it_is,
            lists::the_longest_filters_are_understood,
        ];)* }
    };
}

stores! {
    on_sqlite: crate::open_sqlite();
    on_postgres: crate::open_postgres();
    on_the_model: crate::open_model();
}
