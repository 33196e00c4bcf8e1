//! `spec.sentinel`: the rules of the schema once more.

use std::time::Duration;

use super::{Errors, RedisSpec};
use crate::operators::redis::api::Mode;
use crate::operators::redis::model::ValidSentinel;

/// `spec.sentinel` with its defaults; `None` outside mode Sentinel.
pub(super) fn sentinel(spec: &RedisSpec, errors: &mut Errors) -> Option<ValidSentinel> {
    if spec.mode != Mode::Sentinel {
        if spec.sentinel.is_some() {
            errors.add("spec.sentinel", "only in mode Sentinel");
        }
        return None;
    }
    let own = spec.sentinel.clone().unwrap_or_default();
    let replicas = own.replicas.unwrap_or(3);
    let quorum = own.quorum.unwrap_or(replicas / 2 + 1);
    if !(3..=9).contains(&replicas) {
        errors.add("spec.sentinel.replicas", "must be between 3 and 9");
    } else if quorum < 1 || quorum > replicas {
        errors.add(
            "spec.sentinel.quorum",
            "must be at least 1 and not higher than the number of sentinels, otherwise they never fail over",
        );
    }
    let mut time = |field: &str, text: Option<&String>, default, min, max| {
        let Some(text) = text else {
            return Duration::from_secs(default);
        };
        let range = Duration::from_secs(min)..=Duration::from_secs(max);
        let time = duration(text).filter(|time| range.contains(time));
        time.unwrap_or_else(|| {
            errors.add(
                format!("spec.sentinel.{field}"),
                format!("must be a time between {min}s and {max}s, such as {default}s"),
            );
            Duration::from_secs(default)
        })
    };
    let down_after = time("downAfter", own.down_after.as_ref(), 5, 1, 600);
    let failover_timeout = time(
        "failoverTimeout",
        own.failover_timeout.as_ref(),
        60,
        5,
        3600,
    );
    Some(ValidSentinel {
        replicas,
        quorum: u32::try_from(quorum).unwrap_or(1),
        down_after,
        failover_timeout,
        resources: own.resources.unwrap_or_default(),
        pod_template: own.pod_template.unwrap_or_default(),
    })
}

/// `1500ms`, `5s`, `1m`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        for wrong in ["", "5", "s", "5h", "-5s", "1.5s", "99999999999999999999s"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
