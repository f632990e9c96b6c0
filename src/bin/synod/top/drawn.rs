//! What is drawn on the terminal. What does not fit is left out: columns from the right, rows and notes from below.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as Cells, Sparkline, Table, Wrap};

use super::asking::Pace;
use super::columns::{COLUMNS, STATE, headline, notes, throughput};
use super::measured::{LastMinute, MINUTE, Measuring, Row, Sample, View};

/// What is known, and how it is shown.
pub struct Shown {
    /// How often nodes are asked.
    pub pace: Pace,
    /// Bold and coloured text.
    pub colours: bool,
    /// What was seen last, and when; none before the first answers.
    pub view: Option<(Duration, View)>,
    last_minute: LastMinute,
    measuring: Measuring,
}

impl Shown {
    /// Nothing is known yet.
    pub fn new(interval: Duration, colours: bool) -> Shown {
        let (last_minute, measuring) = (LastMinute::default(), Measuring::default());
        Shown { pace: Pace { interval, paused: false }, colours, view: None, last_minute, measuring }
    }

    /// The nodes have answered, or not.
    pub fn take(&mut self, sample: Sample) {
        let at = sample.at;
        let view = self.measuring.take(sample);
        if let (Some(elapsed), Some(rate)) = (view.elapsed, view.commands_per_second) {
            self.last_minute.add(at, elapsed, rate);
        }
        self.view = Some((at, view));
    }

    fn style(&self, style: Style) -> Style {
        if self.colours { style } else { Style::new() }
    }

    /// Draws all of it.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let line = |y: u16| Rect { y, height: 1, ..area }.intersection(area);
        frame.render_widget(self.head(), line(0));
        if area.height >= 2 {
            frame.render_widget(self.foot(), line(area.height - 1));
        }
        let Some((at, view)) = &self.view else { return };
        if area.height >= 3 {
            self.draw_throughput(frame, *at, view, line(1));
        }
        let top = if area.height >= ROOMY { 3 } else { 2 };
        let bottom = area.height.saturating_sub(1);
        if bottom > top {
            self.draw_nodes(frame, view, Rect { y: top, height: bottom - top, ..area });
        }
    }

    fn head(&self) -> Line<'static> {
        let bold = self.style(Style::new().add_modifier(Modifier::BOLD));
        let Some((_, view)) = &self.view else { return Line::styled("asking the nodes …", bold) };
        let cluster = view.cluster.as_ref().map_or_else(String::new, |cluster| format!("{cluster}: "));
        let said = match view.answered() {
            0 => format!("{}; trying again every {} s", headline(view), self.pace.interval.as_secs_f64()),
            _ => headline(view),
        };
        let style = if view.leader.is_ok() { bold } else { bold.patch(self.style(Style::new().fg(Color::Red))) };
        Line::from(vec![Span::styled(cluster, bold), Span::styled(said, style)])
    }

    fn foot(&self) -> Line<'static> {
        let interval = self.pace.interval.as_secs_f64();
        let (paused, space) = if self.pace.paused { ("PAUSED  ", "go on") } else { ("", "pause") };
        let dim = self.style(Style::new().add_modifier(Modifier::DIM));
        Line::from(vec![
            Span::styled(paused, self.style(Style::new().add_modifier(Modifier::BOLD))),
            Span::styled(format!("q quit  space {space}  +/- interval: {interval} s"), dim),
        ])
    }

    /// A figure, and how it was in the last minute.
    fn draw_throughput(&self, frame: &mut Frame<'_>, at: Duration, view: &View, area: Rect) {
        let figure = throughput(view);
        let taken = (figure.chars().count() as u16 + GAP).min(area.width);
        frame.render_widget(Line::raw(figure), area);
        let width = (area.width - taken).min(MINUTE.as_secs() as u16);
        let area = Rect { x: area.x + taken, width, ..area };
        let seconds = self.last_minute.seconds(at, width);
        let bars = seconds.into_iter().map(|rate| rate.map(|rate| rate.round() as u64)).collect::<Vec<_>>();
        let style = self.style(Style::new().fg(Color::Cyan));
        frame.render_widget(Sparkline::default().data(bars).style(style).absent_value_symbol(" "), area);
    }

    fn draw_nodes(&self, frame: &mut Frame<'_>, view: &View, area: Rect) {
        let width_of = |number: &usize| {
            let cells = view.rows.iter().map(|row| (COLUMNS[*number].cell)(row).chars().count());
            cells.chain([COLUMNS[*number].header.len()]).max().unwrap_or(0) as u16
        };
        let widths: Vec<u16> = (0..COLUMNS.len()).map(|number| width_of(&number)).collect();
        let widths = &widths[..fitting(&widths, area.width)];
        let bold = self.style(Style::new().add_modifier(Modifier::BOLD));
        let aligned = |number: usize, text: String| {
            let line = Line::raw(text);
            Cell::from(if COLUMNS[number].is_number { line.right_aligned() } else { line })
        };
        let header = (0..widths.len()).map(|number| aligned(number, COLUMNS[number].header.to_owned()));
        let cells = |row: &Row| {
            let state_style = self.state_style(row);
            let cells = (0..widths.len()).map(|number| {
                let cell = aligned(number, (COLUMNS[number].cell)(row));
                if number == STATE { cell.style(state_style) } else { cell }
            });
            Cells::new(cells.collect::<Vec<_>>())
        };
        let table = Table::new(view.rows.iter().map(cells), widths.iter().map(|width| Constraint::Length(*width)));
        let table = table.header(Cells::new(header.collect::<Vec<_>>()).style(bold)).column_spacing(GAP);
        frame.render_widget(table, area);
        let used = view.rows.len() as u16 + 1;
        if used < area.height {
            let below = Rect { y: area.y + used, height: area.height - used, ..area };
            let notes: Vec<Line<'_>> = notes(view).into_iter().map(Line::raw).collect();
            frame.render_widget(Paragraph::new(notes).wrap(Wrap { trim: false }), below);
        }
    }

    fn state_style(&self, row: &Row) -> Style {
        self.style(match &row.told {
            Ok(told) if told.phase == "leading" => Style::new().fg(Color::Green),
            Ok(told) if told.trouble.is_some() => Style::new().fg(Color::Yellow),
            Ok(_) => Style::new(),
            Err(_) => Style::new().fg(Color::Red),
        })
    }
}

/// How many columns of these widths there is room for; the first is always there, if only a part of it.
fn fitting(widths: &[u16], room: u16) -> usize {
    let ends = widths.iter().scan(0, |end: &mut u16, width| {
        *end += width + if *end == 0 { 0 } else { GAP };
        Some(*end)
    });
    ends.take_while(|end| *end <= room).count().max(1)
}

/// Between columns.
const GAP: u16 = 2;
/// Lines from which on there is room for an empty one.
const ROOMY: u16 = 12;

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::measured::tests::{first_look, leaderless, nobody, second_look, third_is_down};
    use super::*;

    fn shown(samples: &[Sample]) -> Shown {
        let mut shown = Shown::new(Duration::from_secs(1), true);
        samples.iter().for_each(|sample| shown.take(sample.clone()));
        shown
    }

    /// The lines of a terminal of this size, without what pads them.
    fn drawn(shown: &Shown, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| shown.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(line).collect()
    }

    #[test]
    fn a_cluster_that_is_well() {
        let lines = drawn(&shown(&[first_look(), second_look()]), 132, 12);
        assert_eq!(
            lines,
            [
                "synod: n1 leads in ballot 3.1, chosen up to slot 1,240",
                "1,200 commands/s                                                             █",
                "",
                "NODE  STATE      BALLOT  EXECUTED  LAG  COMMANDS/S  SYNCS/S  PER SYNC   JOURNAL  CPU %  ROUND TRIP  \
                 SESSIONS  ADDRESS",
                "n1    leading    3.1        1,240    0       1,200      100      12.0  1.00 MiB   25.0           -         \
                 2  127.0.0.1:7101",
                "n2    following  3.1        1,230   10       1,190       50      23.8  1.00 MiB   25.0     0.31 ms         \
                 2  127.0.0.1:7102",
                "n3    following  3.1        1,240    0           -        -         -  1.00 MiB      -     1.50 ms         \
                 2  127.0.0.1:7103",
                "",
                "",
                "",
                "",
                "q quit  space pause  +/- interval: 1 s",
            ],
            "{lines:#?}"
        );
    }

    #[test]
    fn a_node_that_is_down_is_shown_as_such_with_what_the_others_say() {
        let lines = drawn(&shown(&[first_look(), third_is_down()]), 60, 10);
        assert_eq!(lines[5], "n3    down       -              -    -           -        -");
        assert_eq!(lines[6..8], ["n3 is down: connection refused", "n1, n2 say of the link to n3: down"]);
    }

    #[test]
    fn nobody_leads_or_nobody_answers() {
        let lines = drawn(&shown(&[leaderless()]), 100, 6);
        assert!(lines[0].starts_with("synod: nobody leads: n1 answers; n2 is down"), "{lines:#?}");
        let lines = drawn(&shown(&[first_look(), nobody()]), 60, 12);
        assert_eq!(lines[0], "no node answers; trying again every 1 s");
        assert_eq!(lines[1], "- commands/s");
        assert!(lines[7..].iter().any(|line| line == "n1 is down: connection refused"), "{lines:#?}");
        let mut again = shown(&[nobody(), first_look(), second_look()]);
        assert!(drawn(&again, 100, 5)[0].starts_with("synod: n1 leads"));
        again.pace = Pace { interval: Duration::from_millis(500), paused: true };
        assert_eq!(drawn(&again, 100, 5)[4], "PAUSED  q quit  space go on  +/- interval: 0.5 s");
    }

    #[test]
    fn a_tiny_terminal_shows_what_fits() {
        let shown = shown(&[first_look(), second_look()]);
        assert_eq!(drawn(&shown, 30, 1), ["synod: n1 leads in ballot 3.1,"]);
        assert_eq!(
            drawn(&shown, 22, 5),
            [
                "synod: n1 leads in bal",
                "1,200 commands/s     █",
                "NODE  STATE",
                "n1    leading",
                "q quit  space pause  +"
            ]
        );
        for (width, height) in [(1, 1), (1, 3), (3, 2), (5, 40), (200, 3), (12, 4)] {
            drawn(&shown, width, height);
        }
        drawn(&Shown::new(Duration::from_secs(1), false), 2, 2);
    }

    #[test]
    fn without_colours_there_is_no_style_at_all() {
        let mut shown = shown(&[first_look(), third_is_down()]);
        shown.colours = false;
        let mut terminal = Terminal::new(TestBackend::new(100, 12)).unwrap();
        terminal.draw(|frame| shown.draw(frame)).unwrap();
        let cells = terminal.backend().buffer().content();
        assert!(cells.iter().all(|cell| cell.modifier.is_empty() && cell.fg == Color::Reset));
    }
}
