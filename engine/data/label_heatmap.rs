//! The label heatmap: counts in, one self-contained SVG for light and dark themes out. A column is a client, a row a
//! label; the darker a cell, the more records.

use std::fmt::Write;

/// Shades, from few records to many.
const SHADES: u32 = 8;

/// Room for label names, in characters, and the width of a character in pixels.
const LETTERS: usize = 28;
const LETTER: f64 = 6.3;

/// Space between two names, in pixels.
const NAME: f64 = 13.0;

const STYLE: &str = "svg{--paper:#fff;--ink:#1f2328;--grid:#e3e7ec;--cell:#0a58b5}\
@media (prefers-color-scheme:dark){svg{--paper:#0f1319;--ink:#dfe5ec;--grid:#232b35;--cell:#5ea4f7}}\
text{font:11px system-ui,sans-serif;fill:var(--ink)}.cells path{fill:var(--cell)}\
.on{fill:var(--paper)}.paper{fill:var(--paper)}.grid{fill:var(--grid)}";

/// The position and size of the cells.
struct Grid {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    columns: usize,
    rows: usize,
}

/// The SVG. `counts` has for each of `clients` the number of records of each of `labels`.
pub(super) fn heatmap(labels: &[String], clients: &[&str], counts: &[&[u32]]) -> String {
    let most = counts.iter().flat_map(|counts| counts.iter()).copied().max().unwrap_or(0).max(1);
    let longest = labels.iter().map(|label| label.chars().count().min(LETTERS)).max().unwrap_or(0);
    let grid = Grid {
        left: 16.0 + LETTER * longest as f64,
        top: 56.0,
        width: (760.0 / clients.len().max(1) as f64).clamp(4.0, 34.0),
        height: (560.0 / labels.len().max(1) as f64).clamp(5.0, 22.0),
        columns: clients.len(),
        rows: labels.len(),
    };
    let names = clients.iter().map(|name| name.chars().count().min(LETTERS)).max().unwrap_or(0);
    let (right, bottom) = (grid.left + grid.width * grid.columns as f64, grid.top + grid.height * grid.rows as f64);
    let (width, height) = (right.max(grid.left + 230.0) + 16.0, bottom + 22.0 + LETTER * names as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\"><style>{STYLE}</style>\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>"
    );
    legend(&mut svg, grid.left, most);
    let (across, down) = (right - grid.left, bottom - grid.top);
    let _ = write!(
        svg,
        "<rect class=\"grid\" x=\"{:.1}\" y=\"{:.1}\" width=\"{across:.1}\" height=\"{down:.1}\"/>",
        grid.left, grid.top
    );
    cells(&mut svg, &grid, counts, most);
    label_names(&mut svg, &grid, labels);
    client_names(&mut svg, &grid, clients, bottom);
    svg.push_str("</svg>\n");
    svg
}

/// The shade of a count: by the square root, so that a few records still show beside many.
fn shade(count: u32, most: u32) -> u32 {
    (f64::from(SHADES) * (f64::from(count) / f64::from(most)).sqrt()).ceil() as u32
}

fn opacity(shade: u32) -> f64 {
    0.12 + 0.88 * f64::from(shade) / f64::from(SHADES)
}

fn legend(svg: &mut String, left: f64, most: u32) {
    let _ = write!(svg, "<text x=\"{left:.1}\" y=\"20\">records of a label (row) that a client (column) has</text>");
    let _ = write!(svg, "<text x=\"{left:.1}\" y=\"42\">1</text><g class=\"cells\">");
    for step in 1..=SHADES {
        let x = left + 12.0 + 18.0 * f64::from(step - 1);
        let _ = write!(svg, "<path fill-opacity=\"{:.2}\" d=\"M{x:.1} 33h18v11h-18z\"/>", opacity(step));
    }
    let _ = write!(svg, "</g><text x=\"{:.1}\" y=\"42\">{most}</text>", left + 18.0 + 18.0 * f64::from(SHADES));
}

/// One path for each shade; numbers where there is room for them.
fn cells(svg: &mut String, grid: &Grid, counts: &[&[u32]], most: u32) {
    let gap = if grid.width.min(grid.height) > 8.0 { 1.0 } else { 0.0 };
    let room = grid.width >= 24.0 && grid.height >= 14.0;
    let (wide, high) = (grid.width - gap, grid.height - gap);
    let mut paths = vec![String::new(); SHADES as usize];
    let mut numbers = String::new();
    for (column, counts) in counts.iter().enumerate() {
        for (row, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (x, y) = (grid.left + grid.width * column as f64, grid.top + grid.height * row as f64);
            let shade = shade(*count, most);
            let path = &mut paths[shade as usize - 1];
            let _ = write!(path, "M{x:.1} {y:.1}h{wide:.1}v{high:.1}h-{wide:.1}z");
            if room && *count < 10_000 {
                let class = if shade * 2 > SHADES { " class=\"on\"" } else { "" };
                let (x, y) = (x + wide / 2.0, y + high / 2.0 + 4.0);
                let _ = write!(numbers, "<text{class} text-anchor=\"middle\" x=\"{x:.1}\" y=\"{y:.1}\">{count}</text>");
            }
        }
    }
    svg.push_str("<g class=\"cells\">");
    for (path, shade) in paths.iter().zip(1..).filter(|(path, _)| !path.is_empty()) {
        let _ = write!(svg, "<path fill-opacity=\"{:.2}\" d=\"{path}\"/>", opacity(shade));
    }
    svg.push_str("</g>");
    svg.push_str(&numbers);
}

fn label_names(svg: &mut String, grid: &Grid, labels: &[String]) {
    let every = (NAME / grid.height).ceil() as usize;
    for (row, label) in labels.iter().enumerate().step_by(every.max(1)) {
        let (x, y) = (grid.left - 6.0, grid.top + grid.height * (row as f64 + 0.5) + 4.0);
        let _ = write!(svg, "<text text-anchor=\"end\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", short(label));
    }
}

fn client_names(svg: &mut String, grid: &Grid, clients: &[&str], bottom: f64) {
    let every = (NAME / grid.width).ceil() as usize;
    for (column, name) in clients.iter().enumerate().step_by(every.max(1)) {
        let (x, y) = (grid.left + grid.width * (column as f64 + 0.5) + 4.0, bottom + 8.0);
        let name = short(name);
        let _ =
            write!(svg, "<text text-anchor=\"end\" transform=\"translate({x:.1} {y:.1}) rotate(-90)\">{name}</text>");
    }
}

/// A name as text of the SVG, cut where it is long.
fn short(name: &str) -> String {
    let mut text = String::new();
    for (at, letter) in name.chars().enumerate() {
        if at + 1 == LETTERS && name.chars().count() > LETTERS {
            text.push('\u{2026}');
            break;
        }
        match letter {
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '&' => text.push_str("&amp;"),
            letter if letter.is_control() => text.push(' '),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_has_its_cell_and_its_number() {
        let labels = ["a<b".to_owned(), "x".repeat(40)];
        let svg = heatmap(&labels, &["one", "two"], &[&[3, 0], &[12, 700]]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        for part in [">a&lt;b<", ">3<", ">12<", ">700<", ">one<", ">two<"] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert!(svg.contains(&format!("{}\u{2026}<", "x".repeat(LETTERS - 1))));
        let cells = svg.split("<g class=\"cells\">").nth(2).unwrap().split("</g>").next().unwrap();
        assert_eq!(cells.matches('M').count(), 3);
    }

    #[test]
    fn shades_go_from_few_to_most() {
        let shades: Vec<_> = [1, 10, 500, 1000].map(|count| shade(count, 1000)).into();
        assert_eq!(shades, [1, 1, 6, SHADES]);
    }

    #[test]
    fn many_clients_and_labels_give_small_cells_and_fewer_names() {
        let labels: Vec<String> = (0..150).map(|label| format!("label{label}")).collect();
        let names: Vec<String> = (0..400).map(|client| format!("client{client}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let counts: Vec<Vec<u32>> =
            (0..400).map(|client| (0..150).map(|label| (client * label) % 7).collect()).collect();
        let counts: Vec<&[u32]> = counts.iter().map(Vec::as_slice).collect();
        let svg = heatmap(&labels, &names, &counts);
        assert!(svg.matches("<text").count() < 250 && svg.len() < 2_500_000, "{}", svg.len());
    }
}
