//! Sets of hash slots, as ranges.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use thiserror::Error;

/// How many hash slots a cluster has: 0 to 16383.
pub const SLOTS: u16 = 16_384;

/// A set of hash slots.
///
/// It is held as ranges that are sorted, and neither overlap nor touch, so that equal sets are equal values. Printed and read
/// as the servers write it: `0-5460 5462 10923-16383`; the empty set is the empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotSet {
    /// First and last slot of each range.
    ranges: Vec<(u16, u16)>,
}

/// Why a text is no set of slots.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no slot or range of slots below {SLOTS}")]
pub struct SlotError(String);

impl SlotSet {
    /// No slot.
    pub fn new() -> Self {
        Self::default()
    }

    /// All slots.
    pub fn full() -> Self {
        Self {
            ranges: vec![(0, SLOTS - 1)],
        }
    }

    /// The slots of some ranges, in any order. What is not below [`SLOTS`] is left out, as is a range that ends before it
    /// begins.
    pub fn from_ranges(ranges: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        let ranges = ranges
            .into_iter()
            .map(RangeInclusive::into_inner)
            .map(|(first, last)| (first, last.min(SLOTS - 1)))
            .filter(|(first, last)| first <= last)
            .collect();
        Self::normalized(ranges)
    }

    fn normalized(mut ranges: Vec<(u16, u16)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self { ranges: merged }
    }

    /// How many slots.
    pub fn len(&self) -> u16 {
        self.ranges
            .iter()
            .map(|(first, last)| last - first + 1)
            .sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether it has all slots.
    pub fn is_full(&self) -> bool {
        self.len() == SLOTS
    }

    /// Whether the slot is in it.
    pub fn contains(&self, slot: u16) -> bool {
        self.ranges
            .binary_search_by(|&(first, last)| {
                if last < slot {
                    std::cmp::Ordering::Less
                } else if first > slot {
                    std::cmp::Ordering::Greater
                } else {
                    std::cmp::Ordering::Equal
                }
            })
            .is_ok()
    }

    /// The ranges, in order, with a gap between each two.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = RangeInclusive<u16>> + '_ {
        self.ranges.iter().map(|&(first, last)| first..=last)
    }

    /// The slots, in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.ranges().flatten()
    }

    /// The slots of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::normalized([self.ranges.as_slice(), &other.ranges].concat())
    }

    /// The slots that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut mine, mut theirs) = (
            self.ranges.iter().peekable(),
            other.ranges.iter().peekable(),
        );
        let mut ranges = Vec::new();
        while let (Some(&&a), Some(&&b)) = (mine.peek(), theirs.peek()) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                ranges.push((first, last));
            }
            // The one that ends first cannot meet what follows.
            if a.1 < b.1 {
                mine.next();
            } else {
                theirs.next();
            }
        }
        Self { ranges }
    }

    /// The slots that are not in it.
    #[must_use]
    pub fn complement(&self) -> Self {
        let mut ranges = Vec::with_capacity(self.ranges.len() + 1);
        let mut next = 0;
        for &(first, last) in &self.ranges {
            if next < first {
                ranges.push((next, first - 1));
            }
            next = last + 1;
        }
        if next < SLOTS {
            ranges.push((next, SLOTS - 1));
        }
        Self { ranges }
    }

    /// The slots of this one that are not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.intersection(&other.complement())
    }

    /// Whether no slot is in both.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.intersection(other).is_empty()
    }

    /// The lowest slots of it, `count` of them or all.
    #[must_use]
    pub fn lowest(&self, count: u16) -> Self {
        let mut left = count;
        let mut ranges = Vec::new();
        for &(first, last) in &self.ranges {
            if left == 0 {
                break;
            }
            let taken = left.min(last - first + 1);
            ranges.push((first, first + taken - 1));
            left -= taken;
        }
        Self { ranges }
    }
}

impl FromIterator<u16> for SlotSet {
    fn from_iter<I: IntoIterator<Item = u16>>(slots: I) -> Self {
        Self::from_ranges(slots.into_iter().map(|slot| slot..=slot))
    }
}

impl fmt::Display for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            if first == last {
                write!(f, "{first}")?;
            } else {
                write!(f, "{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for SlotSet {
    type Err = SlotError;

    /// Reads slots and ranges with white space between them.
    fn from_str(text: &str) -> Result<Self, SlotError> {
        let mut ranges = Vec::new();
        for word in text.split_whitespace() {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            match (first.parse::<u16>(), last.parse::<u16>()) {
                (Ok(first), Ok(last)) if first <= last && last < SLOTS => {
                    ranges.push((first, last));
                }
                _ => return Err(SlotError(word.to_owned())),
            }
        }
        Ok(Self::normalized(ranges))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Sets with ranges that overlap, touch, and reach the ends.
    fn any_set() -> impl Strategy<Value = SlotSet> {
        let slot = prop_oneof![0..SLOTS, 0..12_u16, SLOTS - 12..SLOTS];
        prop::collection::vec((slot, 0..40_u16), 0..12).prop_map(|ranges| {
            SlotSet::from_ranges(ranges.into_iter().map(|(first, more)| first..=first + more))
        })
    }

    fn slots(set: &SlotSet) -> BTreeSet<u16> {
        set.iter().collect()
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_set_of_numbers(a in any_set(), b in any_set(), slot in 0..SLOTS, count in 0..200_u16) {
            let (x, y) = (slots(&a), slots(&b));
            prop_assert_eq!(usize::from(a.len()), x.len());
            prop_assert_eq!(a.is_empty(), x.is_empty());
            prop_assert_eq!(a.contains(slot), x.contains(&slot));
            for own in [a.iter().next(), a.iter().last()].into_iter().flatten() {
                prop_assert!(a.contains(own));
            }
            prop_assert_eq!(slots(&a.union(&b)), &x | &y);
            prop_assert_eq!(slots(&a.intersection(&b)), &x & &y);
            prop_assert_eq!(slots(&a.difference(&b)), &x - &y);
            prop_assert_eq!(a.is_disjoint(&b), x.is_disjoint(&y));
            prop_assert_eq!(slots(&a.lowest(count)), x.iter().copied().take(count.into()).collect());
            prop_assert!(a.union(&a.complement()).is_full());
            prop_assert!(a.is_disjoint(&a.complement()));
        }

        #[test]
        fn equal_sets_are_equal_values(a in any_set(), b in any_set()) {
            for set in [a.clone(), a.union(&b), a.intersection(&b), a.difference(&b), a.complement()] {
                prop_assert_eq!(&set.iter().collect::<SlotSet>(), &set);
                let ranges: Vec<_> = set.ranges().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()));
            }
        }

        #[test]
        fn what_is_printed_is_read_back(a in any_set()) {
            prop_assert_eq!(a.to_string().parse::<SlotSet>(), Ok(a));
        }

        #[test]
        fn no_text_panics(text in ".{0,20}|[0-9 -]{0,20}") {
            let _ = text.parse::<SlotSet>();
        }
    }

    #[test]
    fn it_is_written_as_the_servers_do() {
        let text = "0-5460 5462 10923-16383";
        assert_eq!(text.parse::<SlotSet>().unwrap().to_string(), text);
        assert_eq!("3 1 2".parse::<SlotSet>().unwrap().to_string(), "1-3");
        assert_eq!(SlotSet::new().to_string(), "");
        assert_eq!(SlotSet::full().to_string(), "0-16383");
        for wrong in ["16384", "2-1", "-1", "1-", "a", "1-2-3", "[1->-a]"] {
            assert!(wrong.parse::<SlotSet>().is_err(), "{wrong}");
        }
    }
}
