//! The Redis client and monitor against real `redis-server` and `valkey-server` processes on loopback.
//!
//! Each test runs once for each server of [`server::NAMES`]; `tests/engine/servers` fetches them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where its assumption fails"
)]

mod access;
mod cluster;
mod configuration;
mod conformance;
mod copying;
mod external;
mod failures;
mod ipv6;
mod monitoring;
mod replication;
mod sentinel;
mod server;
mod slots;
mod tls;
mod tls_overlap;

#[allow(dead_code, unused_imports, clippy::similar_names)]
#[path = "../faults/redis/mod.rs"]
mod simulated;

/// Makes one test of each function for each server: `redis_7_0::...`, and so on.
macro_rules! on_every_server {
    ($($test:path => $name:ident),* $(,)?) => {
        on_every_server!(@module redis_7_0 "redis-7.0" $($test => $name),*);
        on_every_server!(@module redis_8_0 "redis-8.0" $($test => $name),*);
        on_every_server!(@module valkey_8_1 "valkey-8.1" $($test => $name),*);
        on_every_server!(@module valkey_9 "valkey-9" $($test => $name),*);
    };
    (@module $module:ident $server:literal $($test:path => $name:ident),*) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $name() {
                    $test(crate::server::Program::find($server)).await;
                }
            )*
        }
    };
}

on_every_server! {
    crate::access::hera_can_do_its_work_and_touch_no_data => hera_can_do_its_work_and_touch_no_data,
    crate::access::replication_and_probe_users_can_do_theirs_only => replication_and_probe_users_can_do_theirs_only,
    crate::access::passwords_change_by_hash_in_one_step => passwords_change_by_hash_in_one_step,
    crate::access::a_user_is_what_it_is_told_to_be => a_user_is_what_it_is_told_to_be,
    crate::access::a_user_that_is_off_or_gone_is_cut_off => a_user_that_is_off_or_gone_is_cut_off,
    crate::access::a_refused_login_is_told_as_such => a_refused_login_is_told_as_such,
    crate::cluster::a_cluster_is_built_and_changes_its_members => a_cluster_is_built_and_changes_its_members,
    crate::cluster::nodes_that_all_moved_meet_again => nodes_that_all_moved_meet_again,
    crate::configuration::directives_are_read_and_set => directives_are_read_and_set,
    crate::configuration::a_refused_directive_is_named => a_refused_directive_is_named,
    crate::conformance::a_simulated_server_answers_as_a_real_one => a_simulated_server_answers_as_a_real_one,
    crate::conformance::a_simulated_node_answers_as_a_real_one => a_simulated_node_answers_as_a_real_one,
    crate::conformance::a_simulated_node_waits_as_a_real_one => a_simulated_node_waits_as_a_real_one,
    crate::conformance::simulated_replicas_keep_histories_as_real_ones_do => simulated_replicas_keep_histories_as_real_ones_do,
    crate::copying::a_copy_has_all_that_was_acknowledged_and_its_own_users => a_copy_has_all_that_was_acknowledged_and_its_own_users,
    crate::copying::writes_go_on_when_the_copy_is_behind => writes_go_on_when_the_copy_is_behind,
    crate::copying::without_the_right_to_pause_writes_have_to_stand_still => without_the_right_to_pause_writes_have_to_stand_still,
    crate::copying::servers_without_a_password_and_with_one_are_entered => servers_without_a_password_and_with_one_are_entered,
    crate::external::nodes_tell_clients_names_and_replicate_by_address => nodes_tell_clients_names_and_replicate_by_address,
    crate::failures::a_killed_server_refuses_and_a_stopped_one_is_silent => a_killed_server_refuses_and_a_stopped_one_is_silent,
    crate::failures::a_server_that_runs_a_script_lives => a_server_that_runs_a_script_lives,
    crate::failures::a_server_that_loads_lives => a_server_that_loads_lives,
    crate::failures::a_server_full_of_clients_lives => a_server_full_of_clients_lives,
    crate::failures::a_replica_without_its_primary_lives => a_replica_without_its_primary_lives,
    crate::ipv6::servers_replicate_and_hand_over_by_ipv6 => servers_replicate_and_hand_over_by_ipv6,
    crate::ipv6::nodes_meet_by_ipv6 => nodes_meet_by_ipv6,
    crate::monitoring::a_killed_process_is_noticed_at_once => a_killed_process_is_noticed_at_once,
    crate::monitoring::a_stopped_process_is_noticed_by_a_poll => a_stopped_process_is_noticed_by_a_poll,
    crate::monitoring::a_busy_process_is_not_silent => a_busy_process_is_not_silent,
    crate::monitoring::changes_of_replication_are_told => changes_of_replication_are_told,
    crate::monitoring::a_dropped_monitor_ends_its_connection => a_dropped_monitor_ends_its_connection,
    crate::replication::a_server_that_follows_nobody_reachable_takes_no_write_and_keeps_its_data => a_server_that_follows_nobody_reachable_takes_no_write_and_keeps_its_data,
    crate::replication::only_a_snapshot_of_an_orderly_stop_keeps_the_history => only_a_snapshot_of_an_orderly_stop_keeps_the_history,
    crate::replication::a_hand_over_loses_no_acknowledged_write => a_hand_over_loses_no_acknowledged_write,
    crate::replication::a_hand_over_without_the_wait_loses_no_acknowledged_write => a_hand_over_without_the_wait_loses_no_acknowledged_write,
    crate::replication::writes_go_on_when_the_replica_does_not_take_over => writes_go_on_when_the_replica_does_not_take_over,
    crate::replication::a_hand_over_to_a_stopped_replica_is_given_up => a_hand_over_to_a_stopped_replica_is_given_up,
    crate::replication::after_a_promotion_the_others_resync_partially => after_a_promotion_the_others_resync_partially,
    crate::replication::an_isolated_primary_refuses_writes => an_isolated_primary_refuses_writes,
    crate::replication::clients_are_paused_and_disconnected => clients_are_paused_and_disconnected,
    crate::sentinel::sentinels_tell_what_they_know_and_take_options => sentinels_tell_what_they_know_and_take_options,
    crate::sentinel::a_killed_primary_is_replaced => a_killed_primary_is_replaced,
    crate::sentinel::a_hand_over_loses_no_acknowledged_write => a_sentinel_hand_over_loses_no_acknowledged_write,
    crate::sentinel::a_replica_that_is_behind_stops_the_hand_over => a_replica_that_is_behind_stops_the_hand_over,
    crate::sentinel::a_sentinel_that_forgot_is_told_again => a_sentinel_that_forgot_is_told_again,
    crate::sentinel::a_primary_that_moved_is_monitored_again => a_primary_that_moved_is_monitored_again,
    crate::sentinel::a_replaced_sentinel_with_the_same_id_is_the_same => a_replaced_sentinel_with_the_same_id_is_the_same,
    crate::sentinel::a_replica_with_priority_0_is_not_chosen => a_replica_with_priority_0_is_not_chosen,
    crate::sentinel::a_sentinel_starts_with_what_hera_builds => a_sentinel_starts_with_what_hera_builds,
    crate::slots::slots_are_moved_key_by_key_under_writes => slots_are_moved_key_by_key_under_writes,
    crate::slots::slots_are_moved_atomically_under_writes => slots_are_moved_atomically_under_writes,
    crate::tls::only_the_expected_server_is_trusted => only_the_expected_server_is_trusted,
    crate::tls::a_rotation_is_seen_by_the_served_serial => a_rotation_is_seen_by_the_served_serial,
    crate::tls::a_certificate_of_the_client_is_demanded => a_certificate_of_the_client_is_demanded,
    crate::tls::a_monitor_watches_over_tls => a_monitor_watches_over_tls,
    crate::tls_overlap::a_primary_and_its_replicas_change_over_and_back => a_primary_and_its_replicas_change_over_and_back,
    crate::tls_overlap::a_hand_over_is_encrypted => a_hand_over_is_encrypted,
    crate::tls_overlap::the_nodes_of_a_cluster_change_over_and_back => the_nodes_of_a_cluster_change_over_and_back,
    crate::tls_overlap::keys_move_over_tls => keys_move_over_tls,
}
