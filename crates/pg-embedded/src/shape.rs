//! Plane figures and where they are placed.

/// A point: x to the right, y down.
pub(crate) type Point = [f32; 2];

/// A figure in local units.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// An ellipse whose first axis is turned by `angle` radians, clockwise on the screen.
    Ellipse { centre: Point, radii: [f32; 2], angle: f32 },
    /// A limb with round ends, `radii[0]` thick at `from` and `radii[1]` at `to`.
    Limb { from: Point, to: Point, radii: [f32; 2] },
    /// A simple polygon.
    Polygon(Vec<Point>),
}

impl Shape {
    pub(crate) fn ellipse(centre: Point, radii: [f32; 2], angle: f32) -> Self {
        Shape::Ellipse { centre, radii, angle }
    }

    pub(crate) fn circle(centre: Point, radius: f32) -> Self {
        Shape::Ellipse { centre, radii: [radius, radius], angle: 0.0 }
    }

    pub(crate) fn limb(from: Point, to: Point, radii: [f32; 2]) -> Self {
        Shape::Limb { from, to, radii }
    }

    pub(crate) fn polygon(corners: &[Point]) -> Self {
        Shape::Polygon(corners.to_vec())
    }

    pub(crate) fn rectangle([x0, y0]: Point, [x1, y1]: Point) -> Self {
        Shape::Polygon(vec![[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    }

    pub(crate) fn contains(&self, p: Point) -> bool {
        match self {
            Shape::Ellipse { centre, radii, angle } => {
                let [u, v] = turn(sub(p, *centre), -angle);
                (u / radii[0]).powi(2) + (v / radii[1]).powi(2) <= 1.0
            }
            Shape::Limb { from, to, radii } => {
                let (axis, d) = (sub(*to, *from), sub(p, *from));
                let t = (dot(axis, d) / dot(axis, axis)).clamp(0.0, 1.0);
                let off = sub(d, [axis[0] * t, axis[1] * t]);
                dot(off, off) <= mix(radii[0], radii[1], t).powi(2)
            }
            Shape::Polygon(corners) => {
                let next = corners.iter().cycle().skip(1);
                // Even-odd rule: count the edges that a ray to the right crosses.
                let crossed = corners.iter().zip(next).filter(|&(&[x0, y0], &[x1, y1])| {
                    (y0 > p[1]) != (y1 > p[1]) && p[0] < x0 + (p[1] - y0) / (y1 - y0) * (x1 - x0)
                });
                crossed.count() % 2 == 1
            }
        }
    }

    /// A circle around the figure: centre and radius.
    pub(crate) fn bounds(&self) -> (Point, f32) {
        match self {
            Shape::Ellipse { centre, radii, .. } => (*centre, radii[0].max(radii[1])),
            Shape::Limb { from, to, radii } => (*from, length(sub(*to, *from)) + radii[0].max(radii[1])),
            Shape::Polygon(corners) => {
                let centre = corners[0];
                (centre, corners.iter().map(|&c| length(sub(c, centre))).fold(0.0, f32::max))
            }
        }
    }
}

/// Where local coordinates lie in an image: scaled, mirrored, turned, then moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Placement {
    /// Pixel coordinates of the local origin.
    pub(crate) origin: Point,
    /// Pixels a local unit.
    pub(crate) scale: f32,
    /// Radians, clockwise on the screen.
    pub(crate) angle: f32,
    /// Whether x is mirrored.
    pub(crate) mirror: bool,
}

impl Placement {
    pub(crate) fn upright(origin: Point, scale: f32) -> Self {
        Placement { origin, scale, angle: 0.0, mirror: false }
    }

    pub(crate) fn to_image(self, [x, y]: Point) -> Point {
        let [u, v] = turn([if self.mirror { -x } else { x }, y], self.angle);
        [self.origin[0] + u * self.scale, self.origin[1] + v * self.scale]
    }

    pub(crate) fn to_local(self, p: Point) -> Point {
        let [u, v] = turn(sub(p, self.origin), -self.angle);
        [if self.mirror { -u } else { u } / self.scale, v / self.scale]
    }

    /// The same place after the image has been stretched by `factors`.
    pub(crate) fn stretched(self, factors: [f32; 2]) -> Self {
        let origin = [self.origin[0] * factors[0], self.origin[1] * factors[1]];
        Placement { origin, scale: self.scale * (factors[0] * factors[1]).sqrt(), ..self }
    }
}

/// `a` at t = 0, `b` at t = 1.
pub(crate) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

fn sub(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1]]
}

fn dot(a: Point, b: Point) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

fn length(a: Point) -> f32 {
    dot(a, a).sqrt()
}

fn turn([x, y]: Point, angle: f32) -> Point {
    let (sin, cos) = angle.sin_cos();
    [x * cos - y * sin, x * sin + y * cos]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Area by counting the cells of a fine grid.
    fn area(shape: &Shape) -> f32 {
        let cells = 400;
        let at = |i: i32| (i as f32 + 0.5) / cells as f32 * 4.0 - 2.0;
        let inside = (0..cells * cells).filter(|i| shape.contains([at(i % cells), at(i / cells)])).count();
        inside as f32 * (4.0 / cells as f32).powi(2)
    }

    #[test]
    fn areas_are_those_of_geometry() {
        let pi = std::f32::consts::PI;
        let close = |shape: Shape, expected: f32| {
            let area = area(&shape);
            assert!((area - expected).abs() < 0.01, "{shape:?}: {area} is not {expected}");
        };
        close(Shape::ellipse([0.1, -0.2], [1.0, 0.5], 0.7), pi / 2.0);
        close(Shape::limb([0.0, 0.0], [1.0, 0.5], [0.25, 0.25]), 1.25f32.sqrt() / 2.0 + pi / 16.0);
        close(Shape::polygon(&[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 0.25], [0.0, 1.0]]), 0.625);
    }

    proptest! {
        #[test]
        fn placement_and_back(x in -1f32..1.0, y in -1f32..1.0, angle in -3f32..3.0, mirror: bool) {
            let place = Placement { origin: [20.0, 30.0], scale: 15.0, angle, mirror };
            let [u, v] = place.to_local(place.to_image([x, y]));
            prop_assert!((u - x).abs() < 1e-4 && (v - y).abs() < 1e-4);
        }

        #[test]
        fn figures_lie_inside_their_bounds(x in -2f32..2.0, y in -2f32..2.0, angle in -3f32..3.0) {
            let shapes = [
                Shape::ellipse([0.3, 0.1], [1.0, 0.4], angle),
                Shape::limb([0.5, 0.0], [-0.7, angle / 3.0], [0.1, 0.4]),
                Shape::polygon(&[[0.0, 0.0], [1.0, angle / 3.0], [-1.0, 0.5]]),
            ];
            for shape in shapes {
                let (centre, radius) = shape.bounds();
                prop_assert!(!shape.contains([x, y]) || length(sub([x, y], centre)) <= radius + 1e-5);
            }
        }
    }
}
