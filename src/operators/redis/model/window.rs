//! Maintenance windows.

use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

use crate::operators::redis::api::{Day, MaintenanceWindow};

/// A window of [`MaintenanceWindow`] that can be used: its time and its time zone exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    days: Vec<Weekday>,
    start: Time,
    duration: SignedDuration,
    zone: TimeZone,
}

impl Window {
    /// Reads a window; the error is the field and what is wrong with it.
    pub fn parse(window: &MaintenanceWindow) -> Result<Self, (&'static str, String)> {
        let start = Time::strptime("%H:%M", &window.start)
            .map_err(|_| ("start", "must be a time such as 22:30".to_owned()))?;
        if !(5..=1440).contains(&window.duration_minutes) {
            return Err(("durationMinutes", "must be between 5 and 1440".into()));
        }
        let name = window.time_zone.as_deref().unwrap_or("UTC");
        let zone = TimeZone::get(name)
            .map_err(|_| ("timeZone", format!("there is no time zone {name:?}")))?;
        Ok(Self {
            days: window.days.iter().map(|day| weekday(*day)).collect(),
            start,
            duration: SignedDuration::from_mins(i64::from(window.duration_minutes)),
            zone,
        })
    }

    /// How long until it is open; zero while it is.
    pub fn opens_in(&self, now: Timestamp) -> Duration {
        let today = now.to_zoned(self.zone.clone()).date();
        // It may have opened yesterday and be open still; each day of the week comes once in the next seven.
        (-1_i64..=7)
            .filter_map(|offset| self.opening(today.checked_add(offset.days()).ok()?))
            .filter(|opening| opening.timestamp() + self.duration > now)
            .map(|opening| opening.timestamp().duration_since(now))
            .map(|wait| Duration::try_from(wait).unwrap_or_default())
            .min()
            .unwrap_or_default()
    }

    fn opening(&self, date: Date) -> Option<Zoned> {
        let opens = self.days.is_empty() || self.days.contains(&date.weekday());
        opens
            .then(|| {
                date.to_datetime(self.start)
                    .to_zoned(self.zone.clone())
                    .ok()
            })
            .flatten()
    }
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Monday => Weekday::Monday,
        Day::Tuesday => Weekday::Tuesday,
        Day::Wednesday => Weekday::Wednesday,
        Day::Thursday => Weekday::Thursday,
        Day::Friday => Weekday::Friday,
        Day::Saturday => Weekday::Saturday,
        Day::Sunday => Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[Day], start: &str, minutes: i32, zone: &str) -> MaintenanceWindow {
        MaintenanceWindow {
            days: days.to_vec(),
            start: start.into(),
            duration_minutes: minutes,
            time_zone: Some(zone.into()),
        }
    }

    #[test]
    fn it_is_open_for_its_time_on_its_days_where_the_user_lives() {
        use Day::{Saturday, Sunday};
        let cases = [
            // A Saturday, 22:00 to 00:00 in UTC.
            (&[Saturday][..], "22:00", "UTC", "2026-11-21T22:00:00Z", 0),
            (&[Saturday], "22:00", "UTC", "2026-11-21T21:59:00Z", 60),
            (&[Saturday], "22:00", "UTC", "2026-11-21T23:59:59Z", 0),
            (
                &[Saturday],
                "22:00",
                "UTC",
                "2026-11-22T00:00:00Z",
                6 * 86_400 + 79_200,
            ),
            // It opened on Saturday and is open on Sunday; Sunday's own opening is not meant.
            (&[Saturday], "23:00", "UTC", "2026-11-22T00:59:00Z", 0),
            (&[], "22:00", "UTC", "2026-11-24T21:00:00Z", 3600),
            // Winter in Berlin is an hour ahead of UTC, summer two.
            (&[], "22:00", "Europe/Berlin", "2026-11-24T21:00:00Z", 0),
            (&[], "22:00", "Europe/Berlin", "2026-07-24T21:00:00Z", 0),
            (&[], "22:00", "Europe/Berlin", "2026-07-24T19:00:00Z", 3600),
            // The hour that daylight saving skips: it opens when that hour would have been.
            (
                &[Sunday],
                "02:30",
                "Europe/Berlin",
                "2026-03-29T01:30:00Z",
                0,
            ),
        ];
        for (days, start, zone, now, seconds) in cases {
            let open = Window::parse(&window(days, start, 120, zone)).unwrap();
            assert_eq!(
                open.opens_in(now.parse().unwrap()).as_secs(),
                seconds,
                "{days:?} {start} {zone} at {now}"
            );
        }
    }

    #[test]
    fn what_does_not_exist_is_named() {
        for (given, field) in [
            (window(&[], "25:00", 60, "UTC"), "start"),
            (window(&[], "soon", 60, "UTC"), "start"),
            (window(&[], "22:00", 0, "UTC"), "durationMinutes"),
            (window(&[], "22:00", 60, "Mars/Olympus"), "timeZone"),
        ] {
            assert_eq!(Window::parse(&given).unwrap_err().0, field);
        }
    }
}
