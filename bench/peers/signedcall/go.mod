module replyworker/bench/peers/signedcall

go 1.26.0
