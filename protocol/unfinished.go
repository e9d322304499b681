package protocol

import "time"

// A registered device may leave a frame or line unfinished for frameTime, plus
// frameTimePerKiB for each KiB of it that has come (SPEC §8).
const (
	frameTime       = 30 * time.Second
	frameTimePerKiB = time.Second
)

// Unfinished returns the memory that an incomplete frame takes, in bytes.
func (s *Session) Unfinished() int {
	if s.work == nil || len(s.work.in) == 0 {
		return 0
	}
	return cap(s.work.in)
}

// frameDue returns when an incomplete frame must have ended, 0 if there is none.
// A lone type byte of v1 is no frame.
func (s *Session) frameDue() instant {
	w := s.work
	if w == nil || len(w.in) == 0 || s.role == Device || s.traits.stopAndWait {
		return 0
	}
	return w.begun.add(frameTime + time.Duration(len(w.in)>>10)*frameTimePerKiB)
}

// FrameTimeout is the end of a session whose peer does not finish a frame.
func FrameTimeout(text string) Close {
	return Close{Code: CloseHeartbeat, Reason: ReasonFrameTimeout, Text: text}
}

func (s *Session) advanceFrame(now time.Time) {
	if due := s.frameDue(); due != 0 && s.at(now) >= due {
		s.shut(FrameTimeout("the frame did not end in time"))
	}
}
