package mrcp

import (
	"strconv"
	"strings"
)

// Resources, as they stand in a=resource and behind the @ of a channel identifier (RFC 6787 3.1). There are more; these
// are the ones spoken here.
const (
	SpeechRecog = "speechrecog"
	SpeechSynth = "speechsynth"
)

// Methods (RFC 6787 6, 8.1, 9.1).
const (
	SetParams = "SET-PARAMS"
	GetParams = "GET-PARAMS"
	Stop      = "STOP"

	Speak         = "SPEAK"
	Pause         = "PAUSE"
	Resume        = "RESUME"
	BargeIn       = "BARGE-IN-OCCURRED"
	Control       = "CONTROL"
	DefineLexicon = "DEFINE-LEXICON"

	DefineGrammar       = "DEFINE-GRAMMAR"
	Recognize           = "RECOGNIZE"
	Interpret           = "INTERPRET"
	GetResult           = "GET-RESULT"
	StartInputTimers    = "START-INPUT-TIMERS"
	StartPhraseEnroll   = "START-PHRASE-ENROLLMENT"
	EnrollmentRollback  = "ENROLLMENT-ROLLBACK"
	EndPhraseEnrollment = "END-PHRASE-ENROLLMENT"
	ModifyPhrase        = "MODIFY-PHRASE"
	DeletePhrase        = "DELETE-PHRASE"
)

// Events (RFC 6787 8.1, 9.1).
const (
	SpeechMarkerEvent      = "SPEECH-MARKER"
	SpeakComplete          = "SPEAK-COMPLETE"
	StartOfInput           = "START-OF-INPUT"
	RecognitionComplete    = "RECOGNITION-COMPLETE"
	InterpretationComplete = "INTERPRETATION-COMPLETE"
)

// Vocabulary is what one resource understands and says.
type Vocabulary struct {
	Methods, Events []string
	// Headers are its own and the generic ones (RFC 6787 6.2).
	Headers []string
	// Causes are the words behind the numbers of Completion-Cause, from 000 on.
	Causes []string
}

// Of is the vocabulary of a resource; false for one that is not spoken here.
func Of(resource string) (Vocabulary, bool) {
	switch resource {
	case SpeechSynth: // RFC 6787 8
		return Vocabulary{
			Methods: []string{SetParams, GetParams, Speak, Stop, Pause, Resume, BargeIn, Control, DefineLexicon},
			Events:  []string{SpeechMarkerEvent, SpeakComplete},
			Headers: append(generic(), "Jump-Size", "Kill-On-Barge-In", "Speaker-Profile", CompletionCause, CompletionReason, "Voice-Gender", "Voice-Age",
				"Voice-Variant", "Voice-Name", "Prosody-Pitch", "Prosody-Contour", "Prosody-Range", "Prosody-Rate", "Prosody-Duration", "Prosody-Volume",
				"Speech-Marker", SpeechLanguage, "Fetch-Hint", "Audio-Fetch-Hint", "Failed-URI", "Failed-URI-Cause", "Speak-Restart", "Speak-Length",
				"Load-Lexicon", "Lexicon-Search-Order"),
			Causes: []string{"normal", "barge-in", "parse-failure", "uri-failure", "error", "language-unsupported", "lexicon-load-failure", "cancelled"},
		}, true
	case SpeechRecog: // RFC 6787 9
		return Vocabulary{
			Methods: []string{SetParams, GetParams, DefineGrammar, Recognize, Interpret, GetResult, StartInputTimers, Stop, StartPhraseEnroll,
				EnrollmentRollback, EndPhraseEnrollment, ModifyPhrase, DeletePhrase},
			Events: []string{StartOfInput, RecognitionComplete, InterpretationComplete},
			Headers: append(generic(), "Confidence-Threshold", "Sensitivity-Level", "Speed-Vs-Accuracy", "N-Best-List-Length", "Input-Type", NoInputTimeout,
				RecognitionTimeout, "Waveform-URI", "Media-Type", "Input-Waveform-URI", CompletionCause, CompletionReason, "Recognizer-Context-Block",
				StartInputTimersHeader, "Speech-Complete-Timeout", "Speech-Incomplete-Timeout", "DTMF-Interdigit-Timeout", "DTMF-Term-Timeout",
				"DTMF-Term-Char", "Failed-URI", "Failed-URI-Cause", "Save-Waveform", "New-Audio-Channel", SpeechLanguage, "Ver-Buffer-Utterance",
				"Recognition-Mode", CancelIfQueue, "Hotword-Max-Duration", "Hotword-Min-Duration", "Interpret-Text", "DTMF-Buffer-Time",
				"Clear-DTMF-Buffer", "Early-No-Match", "Num-Min-Consistent-Pronunciations", "Consistency-Threshold", "Clash-Threshold",
				"Personal-Grammar-URI", "Enroll-Utterance", "Phrase-ID", "Phrase-NL", "Weight", "Save-Best-Waveform", "New-Phrase-ID",
				"Confusable-Phrases-URI", "Abort-Phrase-Enrollment"),
			Causes: []string{"success", "no-match", "no-input-timeout", "hotword-maxtime", "grammar-load-failure", "grammar-compilation-failure",
				"recognizer-error", "speech-too-early", "success-maxtime", "uri-failure", "language-unsupported", "cancelled", "semantics-failure",
				"partial-match", "partial-match-maxtime", "no-match-maxtime", "grammar-definition-failure"},
		}, true
	}
	return Vocabulary{}, false
}

// Header fields that are used here by name.
const (
	ChannelIdentifier      = "Channel-Identifier"
	ContentType            = "Content-Type"
	ContentID              = "Content-ID"
	ContentLength          = "Content-Length"
	CompletionCause        = "Completion-Cause"
	CompletionReason       = "Completion-Reason"
	SpeechLanguage         = "Speech-Language"
	NoInputTimeout         = "No-Input-Timeout"
	RecognitionTimeout     = "Recognition-Timeout"
	StartInputTimersHeader = "Start-Input-Timers"
	CancelIfQueue          = "Cancel-If-Queue"
)

// generic are the header fields of every resource (RFC 6787 6.2).
func generic() []string {
	return []string{ChannelIdentifier, "Accept", "Active-Request-Id-List", "Proxy-Sync-Id", "Accept-Charset", ContentType, ContentID, "Content-Base",
		"Content-Encoding", "Content-Location", ContentLength, "Fetch-Timeout", "Cache-Control", "Logging-Tag", "Set-Cookie", "Vendor-Specific-Parameters"}
}

// StatusText says what a status code means (RFC 6787 5.4); "" for one that the RFC does not have.
func StatusText(code int) string {
	switch code {
	case 200:
		return "success"
	case 201:
		return "success with some optional header fields ignored"
	case 401:
		return "method not allowed"
	case 402:
		return "method not valid in this state"
	case 403:
		return "unsupported header field"
	case 404:
		return "illegal value for header field"
	case 405:
		return "resource not allocated for this session"
	case 406:
		return "mandatory header field missing"
	case 407:
		return "method or operation failed"
	case 408:
		return "unrecognized or unsupported message entity"
	case 409:
		return "unsupported header field value"
	case 410:
		return "non-monotonic or out-of-order request-id"
	case 501:
		return "server internal error"
	case 502:
		return "protocol version not supported"
	case 504:
		return "message too large"
	}
	return ""
}

// Cause is the Completion-Cause of a message: three digits and a word (RFC 6787 8.4.4, 9.4.11). ok is false when the
// message has none, or one that is no number.
func (m *Message) Cause() (code int, word string, ok bool) {
	digits, word, _ := strings.Cut(m.Header.Get(CompletionCause), " ")
	n, err := strconv.ParseUint(digits, 10, 16)
	return int(n), strings.TrimSpace(word), err == nil
}
