package wxsim

// schema says what a JSON value must look like.
type schema struct {
	kind     nodeKind
	members  map[string]*schema // Of objects; no others are known.
	required []string           // Of objects.
	typed    bool               // Objects whose "type" names, in upper case, a member that must be there.
	item     *schema            // Of arrays.
	enum     []string           // Of strings; nil for any.
	min, max int                // Of strings, in code points; max 0 for no limit.
}

func text(minLength, maxLength int) *schema {
	return &schema{kind: kindString, min: minLength, max: maxLength}
}

func oneOf(values ...string) *schema { return &schema{kind: kindString, enum: values} }

func flag() *schema { return &schema{kind: kindBool} }

func object(members map[string]*schema, required ...string) *schema {
	return &schema{kind: kindObject, members: members, required: required}
}

func list(item *schema) *schema { return &schema{kind: kindArray, item: item} }

// replySchema is the body of the call, as the API's page documents it
// (https://pay.weixin.qq.com/doc/v3/partner/4017151726, read 2026-11-23).
func replySchema() *schema {
	return object(map[string]*schema{
		"complainted_mchid": text(1, 64),
		"idempotent_id":     text(1, 128),
		"message": object(map[string]*schema{
			"blocks":          list(blockSchema()),
			"sender_identity": oneOf("UNKNOWN", "MANUAL", "MACHINE"),
			"custom_data":     text(0, 4096),
		}),
	}, "complainted_mchid", "message", "idempotent_id")
}

func blockSchema() *schema {
	button := object(map[string]*schema{"text": text(0, 0), "action": actionSchema(), "invalid_info": invalidInfoSchema()})
	block := object(map[string]*schema{
		"type": oneOf("TEXT", "IMAGE", "LINK", "FAQ_LIST", "BUTTON", "BUTTON_GROUP"),
		"text": object(map[string]*schema{
			"text": text(0, 0), "color": oneOf("DEFAULT", "SECONDARY"), "is_bold": flag(),
		}),
		"image": object(map[string]*schema{
			"media_id":         text(0, 0),
			"image_style_type": oneOf("IMAGE_STYLE_TYPE_NARROW", "IMAGE_STYLE_TYPE_WIDE"),
		}),
		"link":   button,
		"button": button,
		"faq_list": object(map[string]*schema{"faqs": list(object(map[string]*schema{
			"faq_id": text(0, 0), "faq_title": text(0, 0), "action": actionSchema(),
		}))}),
		"button_group": object(map[string]*schema{
			"buttons":       list(object(map[string]*schema{"text": text(0, 0), "action": actionSchema()})),
			"button_layout": oneOf("LAYOUT_UNKNOWN", "LAYOUT_HORIZONTAL", "LAYOUT_VERTICAL"),
			"invalid_info":  invalidInfoSchema(),
		}),
	}, "type")
	block.typed = true
	return block
}

func actionSchema() *schema {
	return object(map[string]*schema{
		"action_type": oneOf("ACTION_TYPE_SEND_MESSAGE", "ACTION_TYPE_JUMP_URL", "ACTION_TYPE_JUMP_MINI_PROGRAM"),
		"jump_url":    text(0, 0),
		"mini_program_jump_info": object(map[string]*schema{
			"appid": text(0, 0), "path": text(0, 0),
		}),
		"message_info": object(map[string]*schema{
			"content": text(0, 0), "custom_data": text(0, 0),
		}, "content"),
		"action_id": text(0, 0),
	})
}

func invalidInfoSchema() *schema {
	return object(map[string]*schema{"expired_time": text(0, 0), "multi_clickable": flag()})
}
