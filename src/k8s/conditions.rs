//! Status conditions after the [API conventions]: one entry for each type, `lastTransitionTime` moves only with `status`,
//! `observedGeneration` on each.
//!
//! Pure: the time is passed in.
//!
//! [API conventions]: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The longest message that the schema of `metav1.Condition` allows, in characters.
pub const MAX_MESSAGE: usize = 32_768;

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known whether it holds. An absent condition means the same.
    Unknown,
}

impl ConditionStatus {
    /// As it is written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    fn of(condition: &Condition) -> Self {
        match condition.status.as_str() {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Sets one condition. `lastTransitionTime` becomes `now` when the status differs from before (or the condition is new) and
/// is kept otherwise. `generation` is the `metadata.generation` that the judgement is about.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: impl Into<ConditionStatus>,
    reason: &str,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = status.into().as_str();
    let mut message = message.into();
    if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
        message.truncate(end);
    }
    if let Some(condition) = conditions.iter_mut().find(|c| c.type_ == type_) {
        if condition.status != status {
            status.clone_into(&mut condition.status);
            condition.last_transition_time = Time(now);
        }
        reason.clone_into(&mut condition.reason);
        condition.message = message;
        condition.observed_generation = generation;
    } else {
        conditions.push(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: generation,
            last_transition_time: Time(now),
        });
    }
}

/// Removes one condition, for those whose absence is the normal state.
pub fn remove(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|condition| condition.type_ != type_);
}

/// The condition of this type.
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// The status of the condition of this type; `Unknown` when there is none.
pub fn status(conditions: &[Condition], type_: &str) -> ConditionStatus {
    get(conditions, type_).map_or(ConditionStatus::Unknown, ConditionStatus::of)
}

/// Whether the condition of this type is there and `True`.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    status(conditions, type_) == ConditionStatus::True
}

/// A condition that changed in a way that is worth an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transition<'a> {
    /// The condition as it is now.
    pub condition: &'a Condition,
    /// Its status before.
    pub from: ConditionStatus,
    /// Its status now.
    pub to: ConditionStatus,
}

/// The conditions of `new` that are worth an event: the status differs from before, or it stayed `False` for another reason.
/// A new condition that is `Unknown` and a change of the message alone are not worth one, nor is another reason while it
/// holds.
pub fn transitions<'a>(old: &[Condition], new: &'a [Condition]) -> Vec<Transition<'a>> {
    new.iter()
        .filter_map(|condition| {
            let from = status(old, &condition.type_);
            let to = ConditionStatus::of(condition);
            let other_reason = to == ConditionStatus::False
                && get(old, &condition.type_)
                    .is_some_and(|before| before.reason != condition.reason);
            (from != to || other_reason).then_some(Transition {
                condition,
                from,
                to,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ConditionStatus::{False, True, Unknown};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a valid time")
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = vec![];
        set(
            &mut conditions,
            "Ready",
            false,
            "Starting",
            "one of three",
            Some(1),
            at(10),
        );
        set(
            &mut conditions,
            "Ready",
            false,
            "Starting",
            "two of three",
            Some(2),
            at(20),
        );
        let ready = get(&conditions, "Ready").expect("it was set");
        assert_eq!(ready.last_transition_time.0, at(10));
        assert_eq!(ready.message, "two of three");
        assert_eq!(ready.observed_generation, Some(2));
        set(
            &mut conditions,
            "Ready",
            true,
            "AllReady",
            "",
            Some(2),
            at(30),
        );
        assert_eq!(
            get(&conditions, "Ready").map(|c| c.last_transition_time.0),
            Some(at(30))
        );
        assert!(is_true(&conditions, "Ready"));
        set(
            &mut conditions,
            "Ready",
            ConditionStatus::Unknown,
            "Unreachable",
            "",
            Some(2),
            at(40),
        );
        assert_eq!(status(&conditions, "Ready"), ConditionStatus::Unknown);
        assert_eq!(conditions.len(), 1);
        remove(&mut conditions, "Ready");
        assert!(conditions.is_empty());
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut conditions = vec![];
        set(
            &mut conditions,
            "Ready",
            true,
            "X",
            "ä".repeat(MAX_MESSAGE + 5),
            None,
            at(0),
        );
        assert_eq!(conditions[0].message.chars().count(), MAX_MESSAGE);
    }

    #[test]
    fn transitions_are_status_changes_and_new_reasons_of_failure() {
        let condition = |type_: &str, status: ConditionStatus, reason: &str, message: &str| {
            let mut one = vec![];
            set(&mut one, type_, status, reason, message, Some(1), at(0));
            one.remove(0)
        };
        let old = vec![
            condition("Same", True, "A", "old"),
            condition("Fails", True, "A", ""),
            condition("FailsOtherwise", False, "A", ""),
            condition("HoldsOtherwise", True, "A", ""),
            condition("Recovers", False, "A", ""),
        ];
        let new = vec![
            condition("Same", True, "A", "new"),
            condition("Fails", False, "B", ""),
            condition("FailsOtherwise", False, "B", ""),
            condition("HoldsOtherwise", True, "B", ""),
            condition("Recovers", True, "B", ""),
            condition("NewUnknown", Unknown, "B", ""),
            condition("NewTrue", True, "B", ""),
        ];
        let found: Vec<_> = transitions(&old, &new)
            .into_iter()
            .map(|t| (t.condition.type_.as_str(), t.from, t.to))
            .collect();
        assert_eq!(
            found,
            vec![
                ("Fails", True, False),
                ("FailsOtherwise", False, False),
                ("Recovers", False, True),
                ("NewTrue", Unknown, True),
            ]
        );
        assert!(transitions(&new, &new).is_empty());
    }

    proptest! {
        /// Whatever is set in whatever order: one entry for each type, and the time is that of the last change of status.
        #[test]
        fn one_entry_with_the_time_of_the_last_change(
            steps in proptest::collection::vec((0_usize..3, 0_usize..3, "[A-Z][a-z]{0,3}"), 1..40)
        ) {
            let types = ["Ready", "Progressing", "Degraded"];
            let mut conditions = vec![];
            let mut model = [None::<(ConditionStatus, i64)>; 3];
            for (second, (type_, status_, reason)) in (0_i64..).zip(steps) {
                let to = [ConditionStatus::True, ConditionStatus::False, ConditionStatus::Unknown][status_];
                set(&mut conditions, types[type_], to, &reason, "", Some(second), at(second));
                let since = match model[type_] { Some((s, since)) if s == to => since, _ => second };
                model[type_] = Some((to, since));
            }
            for (type_, expected) in types.iter().zip(model) {
                prop_assert_eq!(conditions.iter().filter(|c| c.type_ == *type_).count(), usize::from(expected.is_some()));
                if let Some((to, since)) = expected {
                    prop_assert_eq!(status(&conditions, type_), to);
                    prop_assert_eq!(get(&conditions, type_).map(|c| c.last_transition_time.0), Some(at(since)));
                }
            }
        }
    }
}
