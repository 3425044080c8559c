package job_test

import (
	"errors"
	"fmt"

	"replyworker/internal/job"
)

func ExampleDecode() {
	j, err := job.Decode([]byte(`{
		"complaint_id": "200201820200101080076610000", "complainted_mchid": "1900012181", "idempotent_id": "reply-1",
		"message": {"blocks": [{"type": "TEXT", "text": {"text": "Hello"}}]}
	}`), job.Strict)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(j.ComplaintID)
	fmt.Printf("%s\n", j.Body())
	// Output:
	// 200201820200101080076610000
	// {"complainted_mchid":"1900012181","message":{"blocks": [{"type": "TEXT", "text": {"text": "Hello"}}]},"idempotent_id":"reply-1"}
}

func ExampleDecode_invalid() {
	_, err := job.Decode([]byte(`{"complainted_mchid": "1900012181", "idempotent_id": "reply-1",
		"message": {"blocks": [{"type": "TEX"}]}}`), job.Strict)
	fmt.Println(errors.Is(err, job.ErrInvalid))
	if invalid, ok := errors.AsType[*job.InvalidError](err); ok {
		for _, p := range invalid.Problems {
			fmt.Println(p)
		}
		fmt.Println("reply", invalid.Partial.IdempotentID)
	}
	// Output:
	// true
	// /message/blocks/0/type: "TEX" is not one of TEXT, IMAGE, LINK, FAQ_LIST, BUTTON, BUTTON_GROUP
	// /complaint_id: is missing; must be 1 to 64 characters
	// reply reply-1
}

func ExampleInvalidError_Error() {
	_, err := job.Decode([]byte(`{"complaint_id": "..", "complainted_mchid": null, "idempotent_id": "1", "message": {}}`), job.Strict)
	fmt.Println(err)
	// Output:
	// job invalid: 2 problems: /complaint_id: ".." cannot be a segment of a URL's path; /complainted_mchid: is null; must be a string of 1 to 64 characters
}

func ExampleJob_ContentSHA256() {
	a, _ := job.Decode([]byte(`{"complaint_id":"1","complainted_mchid":"2","idempotent_id":"a",
		"message":{"custom_data":"A","sender_identity":"MACHINE"}}`), job.Strict)
	b, _ := job.Decode([]byte(`{"complaint_id":"1","complainted_mchid":"2","idempotent_id":"b",
		"message":{ "sender_identity" : "MACHINE", "custom_data" : "\u0041" }}`), job.Strict)
	fmt.Println(a.ContentSHA256() == b.ContentSHA256())
	// Output: true
}
