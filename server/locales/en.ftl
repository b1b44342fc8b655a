# Words of the pages. Both catalogues have the same messages; a test says which one is missing.
skip-to-content = Skip to content
nav-label = Main
nav-requests = Requests
nav-cameras = Cameras
sign-in = Sign in
sign-out = Sign out
sign-in-recorded = Signing in, asking, deciding and watching are recorded in a ledger that nobody can quietly edit.
sign-in-failed = Name or password is wrong.
sign-in-locked = Too many wrong attempts: this name is locked for { $minutes } minutes.
field-name = Name
field-password = Password
grade-asks = asks and watches
grade-decides = decides
grade-administers = administers
times-in-zone = Times in { $zone }
one-cookie = One cookie, for signing in. Nothing is loaded from elsewhere.
to-start = To the start
rule-named = Rule: { $rule }
at = { $day } { $time }

cameras-lead = The last 24 hours, as of { $time }
cameras-empty = No camera yet
cameras-empty-how = Add one on the server, then join its recorder with the token it prints:
camera-recording = recording
camera-late = connected, not recording
camera-away = no contact
camera-never = not joined yet
class-open = corridor or entry
class-waiting = waiting room
class-private = private
class-prohibited = prohibited
coverage-kept = kept
coverage-gap = not recorded
coverage-destroyed = destroyed
coverage-unknown = nothing known
coverage-words = { $kept } % kept, { $gaps ->
    [0] no gap
    [one] one gap
   *[other] { $gaps } gaps
  }
gaps-count = { $count ->
    [one] One stretch without recording
   *[other] { $count } stretches without recording
  }
verdict-kept = footage exists
verdict-partly = partly missing
verdict-none = no footage
verdict-destroyed = already destroyed
cause-camera-unreachable = camera could not be reached
cause-camera-refused = camera refused the sign-in
cause-camera-stalled = camera sent no picture
cause-no-keyframe = camera sent no complete picture
cause-unsupported-codec = the camera's format is not supported
cause-source-ended = the source ended
cause-clock-step = the clock was set
cause-disk-full = the recorder's disk was full
cause-disk-error = the recorder's disk failed
cause-agent-restart = the recorder restarted
cause-power-loss = power was lost
cause-consent-withheld = consent withheld
cause-no-key = no key to record with
cause-stopped = the recorder was stopped
cause-packet-loss = packets were lost on the way

new-request = New request
requests-empty = No request yet
requests-empty-how = A request says which cameras and what time somebody needs, and why. Another person decides it.
older = Older requests
column-due = Answer due
column-request = Request
column-window = Time filmed
column-asked-by = Asked by
column-state = State
yours-to-decide = for you to decide
request-title = Request { $number }
due-days = { $days ->
    [0] due today
    [one] 1 day left
   *[other] { $days } days left
  }
due-over = { $days ->
    [one] 1 day overdue
   *[other] { $days } days overdue
  }
due-done = answered
state-received = waiting for a decision
state-approved = approved
state-partly-approved = approved in part
state-refused = refused
state-withdrawn = withdrawn

where = Which camera?
which-day = Which day?
today = today
yesterday = yesterday
earlier-days = Earlier days
what-time = About what time?
what-time-hint = Tap one half hour or several; everything between the first and the last is asked for.
night = Night
morning = Morning
afternoon = Afternoon
evening = Evening
about = “About”: half an hour more on both sides
exact-times = Exact times, where they are known
from = From
to = To
check-footage = Is there footage?
checked-title = What there is
which-form = Form
form-view = watch it here
form-copy = watch it and receive a copy
why = On which ground?
ground-reading-own-image = The person asking is in the picture
ground-reading-urgent-need = Urgent need of life, body or property
ground-internal-crime-prevention = Preventing or clearing up a crime here
ground-internal-facility-safety = Safety of the building, fire
ground-provision-consent = To a third party: consent of those filmed
ground-provision-other-law = To a third party: warrant or another law
ground-provision-urgent-need = To a third party: urgent need of life, body or property
ground-provision-public-safety = To a third party: urgent public safety
recipient = The third party
recipient-agency = Agency
recipient-officer = Officer
recipient-document = Number of the document
purpose = What for?
purpose-hint = As much as the decision needs. No resident registration number.
file-request = File the request
request-needs-camera = Choose at least one camera.
request-needs-time = Choose a day and at least one half hour, or both exact times.
request-needs-order = The end must be later than the beginning.
request-future = That time has not passed yet.

footage = Footage
what-is-asked = What is asked
received = Received
record-of-case = Record of this request
next-watch = Approved for you
usable-until = Usable until { $time }.
watch = Watch
prepare-export = Prepare a copy
decide = Decide
decide-lead = Your decision is recorded before it takes effect. Only the person asking may then watch, and only this time and these cameras, to the nearest complete pictures (up to 2 seconds more on either side).
decision-note = Note (optional)
refusal-ground = Ground, if you refuse
refusal-ground-none = – choose –
refusal-ground-hint = “Others are visible” is no ground.
refusal-needs-ground = A refusal needs a ground from the list.
refusal-law-forbids = a law forbids it
refusal-harms-another = it would harm another person
refusal-already-destroyed = already destroyed
refusal-not-identified = the person could not be identified
refusal-not-the-subject = the person is not in the picture
refusal-statutory-retention = a law requires it to be kept
refusal-obstructs-investigation = it would obstruct an investigation
approve = Approve
refuse = Refuse
why-not-yours = You asked for this; somebody else decides.
why-waiting = Waiting for somebody whose grade decides.
why-answered = This request was answered.
why-refused = Refused: { $ground }.
why-withdrawn = This request was taken back.
why-not-viewer = Approved for { $name }, who alone may watch.
why-grant-over = The time for watching is over.
step-filed = filed
step-approved = approved
step-partly-approved = approved in part
step-refused = refused: { $ground }
step-withdrawn = taken back
step-viewed = watched: { $camera }
step-exported = copy prepared
by-whom = { $what } by { $name }
somebody = somebody

viewer-loading = Fetching the footage from the camera’s recorder …
viewer-gap = Nothing was recorded here; going on behind it.
viewer-end = End of what was approved.
viewer-nothing = There is no footage in this window.
viewer-unplayable = Browsers do not play this camera’s format (H.265). Ask for a copy and watch it with a player that does, such as VLC.
viewer-failed = The footage could not be fetched: 
viewer-over = The viewing time is used up.
viewer-remaining = Viewing time left:
viewer-needs-script = The player needs JavaScript; everything else works without.
viewer-unsupported = This browser cannot play the footage. Use a current Firefox, Chrome, Edge or Safari on a computer.
viewer-recorded = What you watch is recorded.
play = Play
pause = Pause
timeline = Timeline
frame-back = One picture back
frame-forth = One picture forward
speed = Speed
jump-to = Time of day
jump = Go

export = Copy
export-running = The copy is being prepared; every segment is opened and checked.
export-leave = You can leave this page and come back.
export-ready = The copy is ready to be fetched until { $time }. Nothing of it lies on the server’s disk: it is opened as you fetch it.
export-bundle = Fetch everything (.zip)
export-failed = The copy could not be prepared: { $why }
export-recorded = Fetching it is recorded. Whoever holds the copy answers for it.
column-file = File
column-size = Size

problem-not-signed-in = Please sign in
problem-not-found = Not found
problem-not-found-detail = There is no such page, or you may not know of it.
problem-refused = Not allowed
problem-ledger-unwritable = The ledger cannot be written
problem-ledger-unwritable-detail = Everything is recorded before it happens, and the ledger cannot be written now: nothing is released and nothing is decided until it can.
problem-other = That did not work
check-address = Check the address, or go back to the start.
ask-other-grade = Ask somebody whose grade allows it.
tell-administrator = Tell the administrator; free space and the ledger’s disk come first.
