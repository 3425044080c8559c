package job

// kind is a type of JSON value.
type kind uint8

const (
	kindAny kind = iota
	kindString
	kindBool
	kindObject
	kindArray
	kindNumber
	kindNull
)

// String returns the kind with its article, as problems name it.
func (k kind) String() string {
	return [...]string{"any value", "a string", "a boolean", "an object", "an array", "a number", "null"}[k]
}

// charset says which characters a string may have. The API takes "a subset of UTF-8: characters of
// one to three bytes" (the basic rules of APIv3, read 2026-11-23), which is the Basic Multilingual
// Plane.
type charset uint8

const (
	charsAny     charset = iota // does not go to the API
	charsBMP                    // goes to the API
	charsMessage                // goes to the API; lenient validation leaves it to the API
)

// format is a rule for a string's value that lengths cannot express.
type format uint8

const (
	formatNone     format = iota
	formatSegment         // neither "." nor "..", which URL clients resolve away
	formatDateTime        // RFC 3339
)

// slot is where the walk notes the place of one of the job's own members.
type slot uint8

const (
	slotNone slot = iota
	slotComplaintID
	slotComplaintedMchID
	slotIdempotentID
	slotMessage
	slotMchID
	slotExpiresAt
	slotLabels
	slotCount
)

// shape says what a value must be. A nil shape is any value but null. Bounds are in code points for
// strings and in pairs for objects; zero is no bound.
type shape struct {
	kind     kind
	min, max int

	// Of a string:
	chars  charset
	format format
	enum   []string // lenient validation takes others too

	// Of an object. Without values, only members may stand in it; where open, lenient validation
	// takes others too.
	members []member
	open    bool
	tag     string // the member whose value is an ofType of members
	values  *shape // names are free, and this is what each value must be
	nameMax int    // code points of a free name

	// Of an array:
	items *shape
}

// member is one known member of an object.
type member struct {
	name     string
	shape    *shape
	required bool
	ofType   string // required where the object's tag has this value
	slot     slot
}

// The table: contract section 2. schema/job.schema.json says the same; a test compares the two.
var jobShape = &shape{kind: kindObject, members: []member{
	{
		name: "complaint_id", required: true, slot: slotComplaintID,
		shape: &shape{kind: kindString, min: 1, max: 64, chars: charsBMP, format: formatSegment},
	},
	{
		name: "complainted_mchid", required: true, slot: slotComplaintedMchID,
		shape: &shape{kind: kindString, min: 1, max: 64, chars: charsBMP},
	},
	{
		name: "idempotent_id", required: true, slot: slotIdempotentID,
		shape: &shape{kind: kindString, min: 1, max: 128, chars: charsBMP},
	},
	{name: "message", required: true, slot: slotMessage, shape: messageShape},
	// An upper bound is not needed: a merchant must be configured. An empty one could not be told
	// from an absent one.
	{name: "mchid", slot: slotMchID, shape: &shape{kind: kindString, min: 1}},
	{name: "expires_at", slot: slotExpiresAt, shape: &shape{kind: kindString, format: formatDateTime}},
	{name: "labels", slot: slotLabels, shape: labelsShape},
}}

var labelsShape = &shape{
	kind: kindObject, max: 16, nameMax: 64,
	values: &shape{kind: kindString, max: 256},
}

var messageShape = &shape{kind: kindObject, open: true, members: []member{
	{name: "blocks", shape: &shape{kind: kindArray, items: blockShape}},
	{name: "sender_identity", shape: enumShape("UNKNOWN", "MANUAL", "MACHINE")},
	{name: "custom_data", shape: &shape{kind: kindString, max: 4096, chars: charsMessage}},
}}

var blockShape = &shape{kind: kindObject, open: true, tag: "type", members: []member{
	{
		name: "type", required: true,
		shape: enumShape("TEXT", "IMAGE", "LINK", "FAQ_LIST", "BUTTON", "BUTTON_GROUP"),
	},
	{name: "text", ofType: "TEXT", shape: textShape},
	{name: "image", ofType: "IMAGE", shape: imageShape},
	{name: "link", ofType: "LINK", shape: buttonShape},
	{name: "faq_list", ofType: "FAQ_LIST", shape: faqListShape},
	{name: "button", ofType: "BUTTON", shape: buttonShape},
	{name: "button_group", ofType: "BUTTON_GROUP", shape: buttonGroupShape},
}}

var textShape = &shape{kind: kindObject, open: true, members: []member{
	{name: "text", shape: stringShape},
	{name: "color", shape: enumShape("DEFAULT", "SECONDARY")},
	{name: "is_bold", shape: boolShape},
}}

var imageShape = &shape{kind: kindObject, open: true, members: []member{
	{name: "media_id", shape: stringShape},
	{name: "image_style_type", shape: enumShape("IMAGE_STYLE_TYPE_NARROW", "IMAGE_STYLE_TYPE_WIDE")},
}}

// buttonShape is a link or a single button; the API gives both the same members.
var buttonShape = &shape{kind: kindObject, open: true, members: []member{
	{name: "text", shape: stringShape},
	{name: "action", shape: actionShape},
	{name: "invalid_info", shape: invalidInfoShape},
}}

var faqListShape = &shape{kind: kindObject, open: true, members: []member{
	{name: "faqs", shape: &shape{kind: kindArray, items: &shape{
		kind: kindObject, open: true, members: []member{
			{name: "faq_id", shape: stringShape},
			{name: "faq_title", shape: stringShape},
			{name: "action", shape: actionShape},
		},
	}}},
}}

var buttonGroupShape = &shape{kind: kindObject, open: true, members: []member{
	{name: "buttons", shape: &shape{kind: kindArray, items: &shape{
		kind: kindObject, open: true, members: []member{
			{name: "text", shape: stringShape},
			{name: "action", shape: actionShape},
		},
	}}},
	{name: "button_layout", shape: enumShape("LAYOUT_UNKNOWN", "LAYOUT_HORIZONTAL", "LAYOUT_VERTICAL")},
	{name: "invalid_info", shape: invalidInfoShape},
}}

var actionShape = &shape{kind: kindObject, open: true, members: []member{
	{name: "action_type", shape: enumShape(
		"ACTION_TYPE_SEND_MESSAGE", "ACTION_TYPE_JUMP_URL", "ACTION_TYPE_JUMP_MINI_PROGRAM")},
	{name: "jump_url", shape: stringShape},
	{name: "mini_program_jump_info", shape: &shape{kind: kindObject, open: true, members: []member{
		{name: "appid", shape: stringShape},
		{name: "path", shape: stringShape},
	}}},
	{name: "message_info", shape: &shape{kind: kindObject, open: true, members: []member{
		{name: "content", required: true, shape: stringShape},
		{name: "custom_data", shape: stringShape},
	}}},
	{name: "action_id", shape: stringShape},
}}

// invalidInfoShape leaves the form of expired_time to the API: the contract names it and no more.
var invalidInfoShape = &shape{kind: kindObject, open: true, members: []member{
	{name: "expired_time", shape: stringShape},
	{name: "multi_clickable", shape: boolShape},
}}

// stringShape is a string of the message of any length.
var stringShape = &shape{kind: kindString, chars: charsMessage}

var boolShape = &shape{kind: kindBool}

func enumShape(values ...string) *shape {
	return &shape{kind: kindString, enum: values}
}
