//! Who gets which slots: as even as can be, with as few slots moved as can be.

use std::cmp::Reverse;

use super::super::super::model::SlotSet;

/// Slots that are to go from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Who has them.
    pub from: String,
    /// Who is to have them.
    pub to: String,
    /// The slots.
    pub slots: SlotSet,
}

/// The moves after which the receivers have all slots, and none has over one more than another. Each keeps what it has up to its
/// share; an owner that is no receiver gives all away, spread over the receivers.
pub fn balance(owners: &[(String, SlotSet)], receivers: &[String]) -> Vec<Move> {
    let owned = |name: &str| {
        let found = owners.iter().find(|(owner, _)| owner == name);
        found.map(|(_, slots)| slots.clone()).unwrap_or_default()
    };
    let total: u32 = owners.iter().map(|(_, slots)| u32::from(slots.len())).sum();
    let Some(count) = u32::try_from(receivers.len()).ok().filter(|n| *n > 0) else {
        return Vec::new();
    };
    // Those with most get the share that is one larger: so fewer slots move.
    let mut order: Vec<(&String, SlotSet)> = receivers.iter().map(|r| (r, owned(r))).collect();
    order.sort_by_key(|(name, slots)| (Reverse(slots.len()), (*name).clone()));
    let mut surplus: Vec<(String, SlotSet)> = owners
        .iter()
        .filter(|(owner, slots)| !receivers.contains(owner) && !slots.is_empty())
        .cloned()
        .collect();
    let mut wanting: Vec<(String, u16)> = Vec::new();
    for (n, (name, slots)) in (0_u32..).zip(order) {
        let share = total / count + u32::from(n < total % count);
        let share = u16::try_from(share).unwrap_or(u16::MAX);
        if slots.len() > share {
            let kept = slots.lowest(share);
            surplus.push((name.clone(), slots.difference(&kept)));
        } else if slots.len() < share {
            wanting.push((name.clone(), share - slots.len()));
        }
    }
    let mut moves = Vec::new();
    for (from, mut slots) in surplus {
        while let Some((to, wants)) = wanting.iter_mut().find(|(_, wants)| *wants > 0) {
            if slots.is_empty() {
                break;
            }
            let part = slots.lowest(*wants);
            slots = slots.difference(&part);
            *wants -= part.len();
            moves.push(Move {
                from: from.clone(),
                to: to.clone(),
                slots: part,
            });
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engines::redis::SLOTS;

    /// A cluster of so many nodes that own all slots in some way, and those that are to have them.
    fn clusters() -> impl Strategy<Value = (Vec<(String, SlotSet)>, Vec<String>)> {
        (1..9_usize, 1..9_usize, prop::collection::vec(0..SLOTS, 8)).prop_map(
            |(count, wanted, mut cuts)| {
                cuts.truncate(count - 1);
                cuts.sort_unstable();
                cuts.dedup();
                let bounds: Vec<u16> = [vec![0], cuts, vec![SLOTS]].concat();
                let owners = bounds
                    .windows(2)
                    .enumerate()
                    .filter(|(_, b)| b[0] < b[1])
                    .map(|(n, b)| (format!("n{n}"), SlotSet::from_ranges([b[0]..=b[1] - 1])))
                    .collect();
                (owners, (0..wanted).map(|n| format!("n{}", n + 1)).collect())
            },
        )
    }

    fn carry_out(owners: &mut Vec<(String, SlotSet)>, m: &Move, slots: &SlotSet) {
        for (name, own) in owners.iter_mut() {
            if *name == m.from {
                assert!(own.intersection(slots) == *slots, "only what it has");
                *own = own.difference(slots);
            }
        }
        match owners.iter_mut().find(|(name, _)| *name == m.to) {
            Some((_, own)) => *own = own.union(slots),
            None => owners.push((m.to.clone(), slots.clone())),
        }
    }

    fn every_slot_once(owners: &[(String, SlotSet)]) {
        let sum: u32 = owners.iter().map(|(_, s)| u32::from(s.len())).sum();
        let all = owners
            .iter()
            .fold(SlotSet::new(), |all, (_, s)| all.union(s));
        assert!(all.is_full() && sum == u32::from(SLOTS), "{sum}");
    }

    proptest! {
        #[test]
        fn the_slots_are_even_after_the_moves_and_no_more_move_than_have_to((mut owners, receivers) in clusters()) {
            let count = u16::try_from(receivers.len()).unwrap();
            let share = SLOTS / count;
            let has = |owners: &[(String, SlotSet)], r: &String| owners.iter().find(|(o, _)| o == r).map_or(0, |(_, s)| s.len());
            // The largest `SLOTS % count` receivers may keep one more.
            let mut sizes: Vec<u16> = receivers.iter().map(|r| has(&owners, r)).collect();
            sizes.sort_unstable_by_key(|s| Reverse(*s));
            let fewest: u32 = sizes.iter().enumerate()
                .map(|(n, s)| u32::from((share + u16::from(n < usize::from(SLOTS % count))).saturating_sub(*s)))
                .sum();
            let moves = balance(&owners, &receivers);
            let moved: u32 = moves.iter().map(|m| u32::from(m.slots.len())).sum();
            prop_assert_eq!(moved, fewest);
            for m in &moves {
                carry_out(&mut owners, m, &m.slots);
                every_slot_once(&owners);
            }
            for (owner, slots) in &owners {
                if receivers.contains(owner) {
                    prop_assert!(slots.len() == share || slots.len() == share + 1);
                } else {
                    prop_assert!(slots.is_empty());
                }
            }
            prop_assert!(balance(&owners, &receivers).is_empty(), "then all is done");
        }

        /// Cut off after any part of the first move and decided anew, it ends, and every slot has one owner all the time.
        #[test]
        fn it_goes_on_from_wherever_it_was_cut_off((mut owners, receivers) in clusters(), parts in prop::collection::vec(1..4000_u16, 64)) {
            let mut passes = 0;
            let before: u32 = balance(&owners, &receivers).iter().map(|m| u32::from(m.slots.len())).sum();
            let mut moved = 0;
            while let Some(first) = balance(&owners, &receivers).first() {
                let part = first.slots.lowest(parts[passes % parts.len()]);
                moved += u32::from(part.len());
                carry_out(&mut owners, first, &part);
                every_slot_once(&owners);
                passes += 1;
                prop_assert!(passes < 40_000, "it does not end");
            }
            prop_assert_eq!(moved, before, "no slot moves twice");
        }
    }
}
