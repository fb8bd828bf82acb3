package link

// MessageOf is what a PUBLISH becomes.
var MessageOf = messageOf
