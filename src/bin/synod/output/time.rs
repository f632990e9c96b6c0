//! Milliseconds since 1970 as a date, in UTC, by the proleptic Gregorian calendar.

/// `2026-02-28 12:34:56.789`.
pub fn utc(ms: u64) -> String {
    let (days, of_day) = (ms / MS_A_DAY, ms % MS_A_DAY);
    let (year, month, day) = date(days);
    let (hours, minutes, seconds) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02}.{:03}", of_day % 1000)
}

/// Year, month, day. A year is counted from March, so that the leap day is its last.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + DAYS_FROM_MARCH_0_TO_1970;
    let (era, of_era) = (days / DAYS_AN_ERA, days % DAYS_AN_ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

const MS_A_DAY: u64 = 86_400_000;
/// Days in 400 years.
const DAYS_AN_ERA: u64 = 146_097;
const DAYS_FROM_MARCH_0_TO_1970: u64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00.000");
        assert_eq!(utc(951_782_400_123), "2000-02-29 00:00:00.123");
        assert_eq!(utc(1_709_251_199_999), "2024-02-29 23:59:59.999");
        assert_eq!(utc(4_102_444_800_000), "2100-01-01 00:00:00.000");
    }
}
