//! Line plots as SVG text. Written by hand because the colours are CSS variables that follow the reader's light or dark
//! theme, the markers carry tooltips, and the legend stands below the plot where it can cover no data.

mod axis;

use std::fmt::Write;

pub use axis::{Axis, Scale, Unit};

use super::escape::escape;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 52.0;
/// Colours with a style of their own; further series repeat colours with another dash.
const COLOURS: usize = 6;
const DASHES: [&str; 6] = ["", "9 4", "2 4", "12 4 2 4", "6 3", "14 6"];
/// More markers than this on a line would hide it.
const MARKERS: usize = 24;

/// One measured point.
#[derive(Debug, Clone)]
pub struct Point {
    /// Place on the x axis.
    pub x: f64,
    /// Place on the y axis.
    pub y: f64,
    /// The smallest and the largest value that `y` is the mean of.
    pub spread: Option<(f64, f64)>,
    /// Tooltip.
    pub note: String,
}

/// One line.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points in drawing order.
    pub points: Vec<Point>,
}

/// One plot.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Heading, also the accessible name.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
    /// A horizontal line at a value, with its meaning.
    pub guide: Option<(f64, String)>,
}

impl Plot {
    /// The plot as an HTML figure; none where there is nothing to draw.
    pub fn render(&self) -> Option<String> {
        let visible = |point: &&Point| self.x.shows(point.x) && self.y.shows(point.y);
        let points = || self.series.iter().flat_map(|series| &series.points).filter(visible);
        let (xs, ys): (Vec<f64>, Vec<f64>) = points().map(|point| (point.x, point.y)).unzip();
        if xs.is_empty() {
            return None;
        }
        let x = self.x.range(&xs, LEFT, WIDTH - RIGHT);
        let spreads = points().filter_map(|point| point.spread).flat_map(|(low, high)| [low, high]);
        let guide = self.guide.as_ref().map(|guide| guide.0);
        let guided: Vec<f64> = ys.iter().copied().chain(spreads).chain(guide).collect();
        let y = self.y.range(&guided, HEIGHT - BOTTOM, TOP);

        let mut svg = String::new();
        let _ = write!(
            svg,
            r#"<figure><figcaption>{title}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">"#,
            title = escape(&self.title)
        );
        self.frame(&mut svg, &x, &y);
        if let Some((value, _)) = &self.guide {
            let (at, end) = (y.place(*value), WIDTH - RIGHT);
            let _ = write!(svg, r#"<line class="guide" x1="{LEFT}" x2="{end}" y1="{at:.1}" y2="{at:.1}"/>"#);
        }
        for (number, series) in self.series.iter().enumerate() {
            let places: Vec<_> =
                series.points.iter().filter(visible).map(|point| (x.place(point.x), y.place(point.y), point)).collect();
            band(&mut svg, number, &places, &y);
            line(&mut svg, number, &places);
        }
        svg.push_str("</svg>");
        self.legend(&mut svg);
        svg.push_str("</figure>");
        Some(svg)
    }

    fn frame(&self, svg: &mut String, x: &axis::Range, y: &axis::Range) {
        let (bottom, end) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (value, label) in y.ticks() {
            let at = y.place(value);
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{LEFT}" x2="{end}" y1="{at:.1}" y2="{at:.1}"/><text class="tick" x="{left}" y="{base:.1}" text-anchor="end">{label}</text>"#,
                left = LEFT - 8.0,
                base = at + 4.0
            );
        }
        for (value, label) in x.ticks() {
            let at = x.place(value);
            let _ = write!(
                svg,
                r#"<line class="axis" x1="{at:.1}" x2="{at:.1}" y1="{bottom}" y2="{below}"/><text class="tick" x="{at:.1}" y="{base}" text-anchor="middle">{label}</text>"#,
                below = bottom + 5.0,
                base = bottom + 19.0
            );
        }
        let _ = write!(
            svg,
            r#"<line class="axis" x1="{LEFT}" x2="{end}" y1="{bottom}" y2="{bottom}"/><line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{bottom}"/><text class="name" x="{middle}" y="{foot}" text-anchor="middle">{x_name}</text><text class="name" transform="translate(16 {centre}) rotate(-90)" text-anchor="middle">{y_name}</text>"#,
            middle = (LEFT + end) / 2.0,
            foot = HEIGHT - 10.0,
            centre = (TOP + bottom) / 2.0,
            x_name = escape(&self.x.title()),
            y_name = escape(&self.y.title())
        );
    }

    fn legend(&self, svg: &mut String) {
        svg.push_str(r#"<ul class="legend">"#);
        for (number, series) in self.series.iter().enumerate() {
            let _ = write!(
                svg,
                r#"<li><svg viewBox="0 0 44 14" width="44" height="14" aria-hidden="true"><g class="c{colour}"><path class="line" d="M2 7H42"{dash}/>{mark}</g></svg>{name}</li>"#,
                colour = number % COLOURS,
                dash = dash(number),
                mark = marker(number, 22.0, 7.0, ""),
                name = escape(&series.name)
            );
        }
        if let Some((_, meaning)) = &self.guide {
            let _ = write!(
                svg,
                r#"<li><svg viewBox="0 0 44 14" width="44" height="14" aria-hidden="true"><path class="guide" d="M2 7H42"/></svg>{}</li>"#,
                escape(meaning)
            );
        }
        svg.push_str("</ul>");
    }
}

/// The area between the smallest and the largest values.
fn band(svg: &mut String, number: usize, places: &[(f64, f64, &Point)], y: &axis::Range) {
    let spread: Vec<_> = places.iter().filter_map(|(x, _, point)| point.spread.map(|spread| (x, spread))).collect();
    if spread.len() < 2 || spread.iter().all(|(_, (low, high))| low == high) {
        return;
    }
    let upper = spread.iter().map(|(x, (_, high))| format!("{x:.1} {:.1}", y.place(*high)));
    let lower = spread.iter().rev().map(|(x, (low, _))| format!("{x:.1} {:.1}", y.place(*low)));
    let around: Vec<String> = upper.chain(lower).collect();
    let _ = write!(svg, r#"<path class="band c{}" d="M{}z"/>"#, number % COLOURS, around.join("L"));
}

fn line(svg: &mut String, number: usize, places: &[(f64, f64, &Point)]) {
    let mut path = String::new();
    for (step, (x, y, _)) in places.iter().enumerate() {
        let _ = write!(path, "{}{x:.1} {y:.1}", if step == 0 { 'M' } else { 'L' });
    }
    let _ = write!(svg, r#"<g class="c{}"><path class="line" d="{path}"{}/>"#, number % COLOURS, dash(number));
    let every = places.len().div_ceil(MARKERS).max(1);
    for (step, (x, y, point)) in places.iter().enumerate() {
        // Shifted by the series' number, so that lines on top of each other show both markers.
        if (step + number).is_multiple_of(every) || step + 1 == places.len() {
            svg.push_str(&marker(number, *x, *y, &point.note));
        }
    }
    svg.push_str("</g>");
}

fn dash(number: usize) -> String {
    match DASHES[number % DASHES.len()] {
        "" => String::new(),
        dashes => format!(r#" stroke-dasharray="{dashes}""#),
    }
}

fn marker(number: usize, x: f64, y: f64, note: &str) -> String {
    let d = match number % 6 {
        0 => format!("M{:.1} {y:.1}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", x - 4.0),
        1 => format!("M{:.1} {:.1}h7v7h-7z", x - 3.5, y - 3.5),
        2 => format!("M{x:.1} {:.1}l4.5 8h-9z", y - 5.0),
        3 => format!("M{x:.1} {:.1}l5 5l-5 5l-5 -5z", y - 5.0),
        4 => format!("M{x:.1} {:.1}l4.5 -8h-9z", y + 5.0),
        _ => format!("M{:.1} {:.1}h3v3h3v3h-3v3h-3v-3h-3v-3h3z", x - 1.5, y - 4.5),
    };
    let title = if note.is_empty() { String::new() } else { format!("<title>{}</title>", escape(note)) };
    format!(r#"<path class="mark" d="{d}">{title}</path>"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: &[(f64, f64)], scale: Scale) -> Plot {
        let points = points.iter().map(|&(x, y)| Point { x, y, spread: None, note: "a<b".into() }).collect();
        Plot {
            title: "t".into(),
            x: Axis { name: "bytes".into(), unit: Unit::Bytes, scale },
            y: Axis { name: "loss".into(), unit: Unit::Number, scale: Scale::Linear },
            series: vec![Series { name: "one & two".into(), points }],
            guide: Some((3.0, "target".into())),
        }
    }

    #[test]
    fn a_plot_escapes_names_and_draws_every_point() {
        let svg = plot(&[(0.0, 4.0), (10.0, 3.0)], Scale::Linear).render().unwrap();
        assert!(svg.contains("one &amp; two") && svg.contains("a&lt;b"));
        assert_eq!(svg.matches("<title>").count(), 2);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn a_log_axis_leaves_out_zero_and_an_empty_plot_is_none() {
        let svg = plot(&[(0.0, 4.0), (10.0, 3.0), (1e6, 2.0)], Scale::Log).render().unwrap();
        assert_eq!(svg.matches("<title>").count(), 2);
        assert!(plot(&[(0.0, 4.0)], Scale::Log).render().is_none());
        assert!(plot(&[(1.0, f64::NAN)], Scale::Linear).render().is_none());
    }

    #[test]
    fn one_point_and_equal_points_have_finite_places() {
        for points in [&[(5.0, 3.0)][..], &[(5.0, 3.0), (5.0, 3.0)]] {
            for scale in [Scale::Linear, Scale::Log] {
                let svg = plot(points, scale).render().unwrap();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }
}
