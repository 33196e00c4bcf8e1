//! Which changes of conditions are told by events.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::status::{DATA_LOSS_RISK, PAUSED, PROGRESSING, in_progress};
use crate::k8s::conditions::{ConditionStatus, Transition};

/// It is bad that this condition is as it is.
pub fn is_bad(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        DATA_LOSS_RISK => condition.status == "True",
        PROGRESSING | PAUSED => false,
        _ => condition.status == "False",
    }
}

/// Whether it is told by an event. That all is as it should be from the start is no news, nor is what a change in progress brings with
/// it: the steps have events of their own.
pub fn is_news(transition: &Transition<'_>) -> bool {
    let Transition {
        condition, from, ..
    } = transition;
    if condition.type_ == PROGRESSING {
        return false;
    }
    if is_bad(condition) {
        *from == ConditionStatus::True || !in_progress(&condition.reason)
    } else {
        *from != ConditionStatus::Unknown
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::ConditionStatus::{False, True, Unknown};
    use super::*;
    use crate::k8s::conditions;
    use crate::operators::redis::reasons;
    use crate::operators::redis::status::READY;

    #[test]
    fn only_what_users_should_look_at_becomes_an_event() {
        let cases = [
            (READY, Unknown, False, reasons::Creating, false),
            (READY, Unknown, False, reasons::ImagePullFailed, true),
            (READY, False, False, reasons::ReplicasBehind, false),
            (READY, False, False, reasons::ImagePullFailed, true),
            (READY, True, False, reasons::ReplicasBehind, true),
            (READY, False, True, reasons::AllInstancesReady, true),
            (PAUSED, Unknown, False, reasons::NotPaused, false),
            (PAUSED, True, False, reasons::NotPaused, true),
            (DATA_LOSS_RISK, Unknown, False, reasons::NoRisk, false),
            (DATA_LOSS_RISK, False, True, reasons::EmptyPrimary, true),
            (PROGRESSING, False, True, reasons::RollingUpdate, false),
        ];
        for (type_, from, to, reason, news) in cases {
            let mut one = vec![];
            conditions::set(
                &mut one,
                type_,
                to,
                reason,
                "",
                Some(1),
                Timestamp::UNIX_EPOCH,
            );
            let transition = Transition {
                condition: &one[0],
                from,
                to,
            };
            assert_eq!(is_news(&transition), news, "{type_} {reason} {from:?}");
        }
    }
}
