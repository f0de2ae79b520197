//! A page to look at: skeletons that move, coloured by how much a class depends on them. One file, nothing loaded.

use std::fmt::Write;

use pg_skeleton::{Clip, Instance, Layout};
use pg_tubes::{BoundingBox, InstanceScores, Tube, VideoDetections};

use crate::detection::box_of;

/// What is drawn of a clip.
#[derive(Debug)]
pub struct Explained<'a> {
    /// The people.
    pub clip: &'a Clip,
    /// Their boxes and scores.
    pub detections: &'a VideoDetections,
    /// The class that was asked about.
    pub class: usize,
    /// Probability of each class for the whole clip.
    pub scores: Vec<f32>,
    /// Of each of the clip's instances: its share of the squared input gradient of the class's logit.
    pub dependence: Vec<f64>,
    /// People over time, each a box in a run of frames.
    pub people: Vec<Tube>,
    /// Where and when the class is, as annotated.
    pub truth: Vec<Tube>,
}

impl<'a> Explained<'a> {
    /// The clip's people frame by frame, each with its dependence.
    fn people_by_frame(&self) -> Vec<Vec<(&'a Instance, f64)>> {
        let people = self.clip.instances.iter().zip(&self.dependence);
        by_frame(self.clip.frames, people.map(|(person, &dependence)| (person.frame, (person, dependence))))
    }

    /// Boxes and scores frame by frame.
    fn scores_by_frame(&self) -> Vec<Vec<&'a InstanceScores>> {
        by_frame(
            self.clip.frames,
            self.detections.instances.iter().map(|instance| (instance.frame, instance)),
        )
    }

    /// The greatest dependence, which the colours count from.
    fn greatest(&self) -> f64 {
        self.dependence.iter().copied().fold(f64::MIN_POSITIVE, f64::max)
    }
}

fn by_frame<T>(frames: usize, items: impl Iterator<Item = (usize, T)>) -> Vec<Vec<T>> {
    let mut found: Vec<Vec<T>> = (0..frames).map(|_| Vec::new()).collect();
    for (frame, item) in items {
        found[frame].push(item);
    }
    found
}

/// Least score of a class at which a person is given a box.
const SHOWN: f32 = 0.5;

const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:2em auto;max-width:720px;color:#222}\
h2{margin:2em 0 .2em}svg{background:#f4f4f2;display:block}p{margin:.3em 0}\
.frame{display:none}.frame.on{display:inline}input{width:420px;vertical-align:middle}\
.note{color:#666}td{padding:0 .6em 0 0}";

const SCRIPT: &str = "document.querySelectorAll('section').forEach(s=>{\
const f=s.querySelectorAll('.frame'),r=s.querySelector('input'),b=s.querySelector('button'),\
n=s.querySelector('output'),m=s.querySelectorAll('.now');let t=null;\
const show=()=>{f.forEach((e,i)=>e.classList.toggle('on',i==r.value));n.value=r.value;\
m.forEach(e=>e.setAttribute('x',e.dataset.x0-0+r.value*e.dataset.dx))};\
r.oninput=show;b.onclick=()=>{if(t){clearInterval(t);t=null;b.textContent='play'}else{\
t=setInterval(()=>{r.value=(+r.value+1)%f.length;show()},80);b.textContent='stop'}};show()});";

/// The page.
pub fn page(clips: &[Explained]) -> String {
    let sections: String = clips.iter().map(section).collect();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>What the class depends on</title>\
         <style>{STYLE}</style><h1>What the class depends on</h1>\
         <p class=\"note\">People are coloured by their share of the squared input gradient of the class's logit: grey for \
         none, through orange, to red for the most of the clip. Boxes are drawn where the class's score for the person is at \
         least a half; dashed green boxes are annotated.</p>{sections}<script>{SCRIPT}</script></html>\n"
    )
}

fn section(explained: &Explained) -> String {
    let Explained { clip, detections, class, scores, .. } = explained;
    let (people, scored) = (explained.people_by_frame(), explained.scores_by_frame());
    let (width, height) = (clip.width, clip.height);
    let mut html = String::new();
    let label = clip.label.as_deref().map_or(String::new(), |label| format!(", labelled {}", escaped(label)));
    let _ = write!(
        html,
        "<section><h2>{}{label}</h2><p>Asked about: <b>{}</b>. Whole clip: {}</p>",
        escaped(&clip.id),
        escaped(&detections.classes[*class]),
        scores
            .iter()
            .zip(&detections.classes)
            .map(|(p, name)| format!("{} {:.0} %", escaped(name), 100.0 * p))
            .collect::<Vec<_>>()
            .join(", "),
    );
    let _ = write!(
        html,
        "<svg viewBox=\"0 0 {width} {height}\" width=\"640\" role=\"img\" aria-label=\"skeletons\">"
    );
    for (frame, (people, scores)) in people.iter().zip(&scored).enumerate() {
        let _ = write!(html, "<g class=\"frame\">{}</g>", frame_content(explained, frame, people, scores));
    }
    let last = clip.frames.saturating_sub(1);
    let _ = write!(
        html,
        "</svg><p><button>play</button> <input type=\"range\" min=\"0\" max=\"{last}\" value=\"{}\"> frame <output></output></p>\
         {}</section>",
        most_telling_frame(&people),
        strips(explained, &people, &scored),
    );
    html
}

/// The frame on whose people the class depends most.
fn most_telling_frame(people: &[Vec<(&Instance, f64)>]) -> usize {
    let of_frame = |frame: &usize| people[*frame].iter().map(|(_, dependence)| dependence).sum::<f64>();
    (0..people.len()).max_by(|a, b| of_frame(a).total_cmp(&of_frame(b))).unwrap_or(0)
}

fn frame_content(
    explained: &Explained,
    frame: usize,
    people: &[(&Instance, f64)],
    scores: &[&InstanceScores],
) -> String {
    let mut svg = String::new();
    for tube in &explained.truth {
        if let Some(b) = tube.box_at(frame) {
            let _ = write!(
                svg,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" stroke=\"#2a8f3c\" \
                 stroke-dasharray=\"4 3\"/>",
                b.x0,
                b.y0,
                b.x1 - b.x0,
                b.y1 - b.y0
            );
        }
    }
    for instance in scores {
        let score = instance.scores[explained.class];
        if score >= SHOWN {
            let b = instance.bounding_box;
            let _ = write!(
                svg,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" stroke=\"#3465a4\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"9\" fill=\"#3465a4\">{:.2}</text>",
                b.x0,
                b.y0,
                b.x1 - b.x0,
                b.y1 - b.y0,
                b.x0 + 2.0,
                b.y0 + 9.0,
                score
            );
        }
    }
    let most = explained.greatest();
    for (person, dependence) in people {
        draw_person(&mut svg, person, &colour((dependence / most).sqrt()));
    }
    svg
}

fn draw_person(svg: &mut String, person: &Instance, colour: &str) {
    let is_there = |joint: usize| {
        person.keypoints.get(joint).filter(|point| point.confidence > 0.05).map(|p| (p.x, p.y))
    };
    let limbs = Layout::of_count(person.keypoints.len()).map_or(&[][..], |layout| layout.limbs);
    for &(a, b) in limbs {
        if let (Some((ax, ay)), Some((bx, by))) = (is_there(a), is_there(b)) {
            let _ = write!(
                svg,
                "<path d=\"M{ax:.1} {ay:.1}L{bx:.1} {by:.1}\" stroke=\"{colour}\" stroke-width=\"2.5\" \
                 stroke-linecap=\"round\"/>"
            );
        }
    }
    for (x, y) in (0..person.keypoints.len()).filter_map(is_there) {
        let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.8\" fill=\"{colour}\"/>");
    }
}

/// A row a person: how likely the class is for it (above), and how much the class depends on it (below), frame by frame.
fn strips(
    explained: &Explained,
    people: &[Vec<(&Instance, f64)>],
    scored: &[Vec<&InstanceScores>],
) -> String {
    const LEFT: f64 = 70.0;
    const ROW: f64 = 22.0;
    let frames = explained.clip.frames;
    let cell = 560.0 / frames as f64;
    let height = ROW * explained.people.len() as f64 + 18.0;
    let mut svg = format!("<svg viewBox=\"0 0 640 {height}\" width=\"640\" font-size=\"10\">");
    let most = explained.greatest();
    for (row, tube) in explained.people.iter().enumerate() {
        let y = ROW * row as f64 + 4.0;
        let _ = write!(svg, "<text x=\"4\" y=\"{:.1}\">person {}</text>", y + 11.0, row + 1);
        for frame in tube.start..tube.end().min(frames) {
            let found = tube.box_at(frame).and_then(|place| {
                let (nearest, dependence) = of_person(explained, place, &people[frame], &scored[frame])?;
                Some((nearest.scores[explained.class], dependence))
            });
            let Some((score, dependence)) = found else { continue };
            let x = LEFT + cell * frame as f64;
            let blue = format!("rgba(52,101,164,{score:.2})");
            let colour = colour((dependence / most).sqrt());
            let _ = write!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{cell:.2}\" height=\"8\" fill=\"{blue}\"/>\
                 <rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{cell:.2}\" height=\"8\" fill=\"{colour}\"/>",
                y + 9.0
            );
        }
    }
    for tube in &explained.truth {
        let _ = write!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"4\" fill=\"#2a8f3c\"/>",
            LEFT + cell * tube.start as f64,
            height - 12.0,
            cell * tube.boxes.len() as f64
        );
    }
    let _ = write!(
        svg,
        "<rect class=\"now\" data-x0=\"{LEFT}\" data-dx=\"{cell:.3}\" x=\"{LEFT}\" y=\"0\" width=\"1\" height=\"{height}\" \
         fill=\"#222\"/></svg><p class=\"note\">Blue: score of the class for the person. Grey to red: how much the \
         class depends on it. Green: the annotated time.</p>"
    );
    svg
}

/// Scores and dependence of the person of a frame whose box is at a place.
fn of_person<'a>(
    explained: &Explained,
    place: BoundingBox,
    people: &[(&Instance, f64)],
    scores: &[&'a InstanceScores],
) -> Option<(&'a InstanceScores, f64)> {
    let nearest = scores
        .iter()
        .map(|instance| (instance.bounding_box.iou(place), *instance))
        .filter(|(overlap, _)| *overlap > 0.5)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))?
        .1;
    let is_nearest = |person: &Instance| box_of(explained.clip, person) == Some(nearest.bounding_box);
    let (_, dependence) = people.iter().find(|(person, _)| is_nearest(person))?;
    Some((nearest, *dependence))
}

/// From grey over orange to red.
fn colour(share: f64) -> String {
    const STOPS: [[f64; 3]; 3] = [[176.0, 176.0, 176.0], [245.0, 170.0, 60.0], [200.0, 20.0, 20.0]];
    let place = 2.0 * share.clamp(0.0, 1.0);
    let (from, to) = if place < 1.0 { (STOPS[0], STOPS[1]) } else { (STOPS[1], STOPS[2]) };
    let part = place - place.floor().min(1.0);
    let level = |i: usize| (from[i] + (to[i] - from[i]) * part).round() as u8;
    format!("#{:02x}{:02x}{:02x}", level(0), level(1), level(2))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_from_grey_over_orange_to_red() {
        assert_eq!([colour(0.0), colour(0.5), colour(1.0)], ["#b0b0b0", "#f5aa3c", "#c81414"]);
        assert_eq!([colour(f64::NAN), colour(9.0)], ["#000000".to_owned(), colour(1.0)]);
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escaped("a<b> & c"), "a&lt;b&gt; &amp; c");
    }
}
