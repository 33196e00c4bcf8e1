use super::*;

pub(super) const TIMING: Timing = Timing {
    duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn record(holder: &str, version: &str) -> Record {
    let holder = (!holder.is_empty()).then(|| holder.to_owned());
    Record {
        holder,
        duration: seconds(15),
        version: version.to_owned(),
    }
}

fn write(version: &str) -> Step {
    Step::Write {
        version: version.to_owned(),
    }
}

fn leader() -> Candidate {
    let mut candidate = Candidate::new("a", TIMING);
    candidate.read(seconds(0), None);
    assert_eq!(candidate.decide(seconds(0)), Step::Create);
    candidate.written(seconds(0), seconds(0), record("a", "1"));
    candidate
}

#[test]
fn a_free_lease_is_taken_at_once() {
    let mut candidate = Candidate::new("a", TIMING);
    assert_eq!(candidate.decide(seconds(0)), Step::Read);
    candidate.read(seconds(0), Some(record("", "7")));
    assert_eq!(candidate.decide(seconds(0)), write("7"));
    assert_eq!(leader().leads_until(), Some(seconds(10)));
}

#[test]
fn a_held_lease_is_taken_when_it_did_not_change_for_its_duration() {
    let mut candidate = Candidate::new("a", TIMING);
    candidate.read(seconds(100), Some(record("b", "1")));
    assert_eq!(candidate.decide(seconds(100)), Step::Wait(seconds(1)));
    candidate.read(seconds(114), Some(record("b", "1")));
    assert!(matches!(candidate.decide(seconds(114)), Step::Wait(_)));
    candidate.read(seconds(114), Some(record("b", "2")));
    candidate.read(seconds(128), Some(record("b", "2")));
    assert!(
        matches!(candidate.decide(seconds(128)), Step::Wait(_)),
        "a renewal was seen at 114 s"
    );
    candidate.read(seconds(129), Some(record("b", "2")));
    assert_eq!(candidate.decide(seconds(129)), write("2"));
}

#[test]
fn the_longer_duration_counts() {
    let mut candidate = Candidate::new("a", TIMING);
    let long = Record {
        duration: seconds(60),
        ..record("b", "1")
    };
    candidate.read(seconds(0), Some(long.clone()));
    candidate.read(seconds(59), Some(long.clone()));
    assert!(matches!(candidate.decide(seconds(59)), Step::Wait(_)));
    candidate.read(seconds(60), Some(long));
    assert_eq!(candidate.decide(seconds(60)), write("1"));
}

#[test]
fn a_deleted_lease_is_no_release() {
    let mut candidate = Candidate::new("a", TIMING);
    candidate.read(seconds(0), Some(record("b", "1")));
    candidate.read(seconds(1), None);
    assert!(matches!(candidate.decide(seconds(1)), Step::Wait(_)));
    candidate.read(seconds(15), None);
    assert_eq!(candidate.decide(seconds(15)), Step::Create);
}

#[test]
fn a_leader_renews_and_counts_from_before_it_sent() {
    let mut candidate = leader();
    assert_eq!(candidate.decide(seconds(1)), Step::Wait(seconds(1)));
    assert_eq!(candidate.decide(seconds(2)), write("1"));
    candidate.written(seconds(2), seconds(8), record("a", "2"));
    assert_eq!(candidate.leads_until(), Some(seconds(12)));
    assert_eq!(candidate.decide(seconds(8)), write("2"));
    assert_eq!(candidate.decide(seconds(12)), Step::Stop);
}

#[test]
fn a_leader_that_cannot_renew_stops_at_its_deadline() {
    let mut candidate = leader();
    candidate.failed(seconds(9) + Duration::from_millis(500));
    assert_eq!(
        candidate.decide(seconds(9) + Duration::from_millis(500)),
        Step::Wait(Duration::from_millis(500))
    );
    assert_eq!(candidate.decide(seconds(10)), Step::Stop);
}

#[test]
fn a_leader_goes_on_after_a_conflict_when_it_still_holds_the_lease() {
    let mut candidate = leader();
    candidate.refused(seconds(2));
    assert_eq!(candidate.decide(seconds(3)), Step::Read);
    candidate.read(seconds(3), Some(record("a", "5")));
    assert_eq!(candidate.decide(seconds(3)), write("5"));
    assert_eq!(
        candidate.leads_until(),
        Some(seconds(10)),
        "reading is not renewing"
    );
    candidate.read(seconds(3), None);
    assert_eq!(candidate.decide(seconds(3)), Step::Create);
    candidate.read(seconds(3), Some(record("b", "6")));
    assert_eq!(candidate.decide(seconds(3)), Step::Stop);
    candidate.read(seconds(3), Some(record("", "7")));
    assert_eq!(candidate.decide(seconds(3)), Step::Stop);
}

#[test]
fn an_answer_that_comes_too_late_makes_no_leader() {
    let mut candidate = Candidate::new("a", TIMING);
    candidate.read(seconds(0), None);
    candidate.written(seconds(0), seconds(11), record("a", "1"));
    assert_eq!(candidate.leads_until(), None);
    assert_eq!(candidate.decide(seconds(11)), write("1"));
}
